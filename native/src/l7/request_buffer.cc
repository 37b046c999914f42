#include "l7/request_buffer.h"

namespace weft::l7 {

void RequestBuffer::Reset() {
  Release();
  bytes_.Clear();
  sent_ = 0;
  whole_ = true;
}

void RequestBuffer::Release() {
  budget_.held -= counted_;
  counted_ = 0;
  retaining_ = false;
  if (sent_ == 0) return;
  whole_ = false;
  bytes_.Consume(sent_);
  sent_ = 0;
}

void RequestBuffer::Append(std::span<const uint8_t> bytes) {
  bytes_.Append(bytes);
  if (retaining_) Account();
}

void RequestBuffer::Sent(size_t n) {
  sent_ += n;
  if (retaining_) return;
  if (sent_ > 0) whole_ = false;
  bytes_.Consume(sent_);
  sent_ = 0;
}

void RequestBuffer::Account() {
  const size_t more = bytes_.size() - counted_;
  if (bytes_.size() > kMaxRetained || budget_.held + more > RetainBudget::kLimit) return Release();
  budget_.held += more;
  counted_ += more;
}

}  // namespace weft::l7
