#pragma once

#include <ctime>
#include <string_view>

namespace weft::l7 {

// The `date` of responses (RFC 9110 section 5.6.7), formatted once per second.
class DateCache {
 public:
  std::string_view Text(time_t now) {
    if (now != second_) {
      second_ = now;
      tm parts;
      gmtime_r(&now, &parts);
      size_ = strftime(text_, sizeof text_, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return {text_, size_};
  }

 private:
  time_t second_ = -1;
  size_t size_ = 0;
  char text_[40];
};

}  // namespace weft::l7
