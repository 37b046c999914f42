#include "bpf/libbpf_log.h"

#include <bpf/libbpf.h>

#include <array>
#include <cstdarg>
#include <cstdio>

namespace weft {
namespace {

thread_local LibbpfLog* current = nullptr;

}  // namespace

// The callback is process-wide and carries no argument, hence the thread-local.
struct LibbpfLogSink {
  __attribute__((format(printf, 2, 0))) static int Print(libbpf_print_level level, const char* format, va_list args) {
    if (level != LIBBPF_WARN || current == nullptr || !current->first_warning_.empty()) return 0;
    std::array<char, 512> line{};
    const int length = std::vsnprintf(line.data(), line.size(), format, args);
    current->first_warning_ = line.data();
    while (!current->first_warning_.empty() && current->first_warning_.back() == '\n') {
      current->first_warning_.pop_back();
    }
    return length;
  }
};

LibbpfLog::LibbpfLog() : outer_(current) {
  libbpf_set_print(&LibbpfLogSink::Print);
  current = this;
}

LibbpfLog::~LibbpfLog() { current = outer_; }

}  // namespace weft
