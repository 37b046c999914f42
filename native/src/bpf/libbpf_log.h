#pragma once

#include <string>

namespace weft {

// Keeps what libbpf says on this thread while the object lives, so that a failed load explains itself in one Error
// instead of lines on stderr.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  // The first warning without its line end; libbpf's later ones repeat it less precisely. Empty when there was none.
  const std::string& first_warning() const { return first_warning_; }

 private:
  friend struct LibbpfLogSink;
  LibbpfLog* outer_;
  std::string first_warning_;
};

}  // namespace weft
