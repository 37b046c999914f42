#pragma once

#include <cerrno>
#include <string>
#include <utility>
#include <variant>

namespace weft {

// An errno value with what was being done, for the caller to print: "bind 15001: Address already in use".
struct Error {
  int code = EIO;
  std::string what;
};

// Shaped like std::expected<T, Error>, so that the switch to C++23 is an alias.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;

}  // namespace weft
