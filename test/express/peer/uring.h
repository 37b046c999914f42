// One operation at a time through io_uring, by raw system calls.
#pragma once

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

class Uring {
 public:
  Uring() {
    io_uring_params params{};
    fd_ = static_cast<int>(syscall(__NR_io_uring_setup, 4, &params));
    if (fd_ < 0 || (params.features & IORING_FEAT_SINGLE_MMAP) == 0) Die("io_uring_setup");
    const size_t rings = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
    auto* ring = static_cast<char*>(Map(rings, IORING_OFF_SQ_RING));
    sq_tail_ = reinterpret_cast<std::atomic<uint32_t>*>(ring + params.sq_off.tail);
    sq_mask_ = *reinterpret_cast<uint32_t*>(ring + params.sq_off.ring_mask);
    sq_array_ = reinterpret_cast<uint32_t*>(ring + params.sq_off.array);
    cq_head_ = reinterpret_cast<std::atomic<uint32_t>*>(ring + params.cq_off.head);
    cq_tail_ = reinterpret_cast<std::atomic<uint32_t>*>(ring + params.cq_off.tail);
    cq_mask_ = *reinterpret_cast<uint32_t*>(ring + params.cq_off.ring_mask);
    cqes_ = reinterpret_cast<io_uring_cqe*>(ring + params.cq_off.cqes);
    sqes_ = static_cast<io_uring_sqe*>(Map(params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
  }

  // As send() and recv(), waiting also when the socket is non-blocking.
  ssize_t Send(int fd, const void* data, size_t n) { return Transfer(IORING_OP_SEND, fd, data, n, IN_WAIT_OUT); }
  ssize_t Receive(int fd, void* data, size_t n) { return Transfer(IORING_OP_RECV, fd, data, n, IN_WAIT_IN); }

 private:
  static constexpr uint32_t IN_WAIT_IN = 1, IN_WAIT_OUT = 4;  // POLLIN, POLLOUT

  static void Die(const char* what) {
    std::perror(what);
    std::exit(1);
  }

  void* Map(size_t size, uint64_t offset) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, static_cast<off_t>(offset));
    if (at == MAP_FAILED) Die("mmap");
    return at;
  }

  ssize_t Transfer(uint8_t opcode, int fd, const void* data, size_t n, uint32_t events) {
    for (;;) {
      io_uring_sqe entry{};
      entry.opcode = opcode;
      entry.fd = fd;
      entry.addr = reinterpret_cast<uint64_t>(data);
      entry.len = static_cast<uint32_t>(n);
      entry.msg_flags = 0x4000;  // MSG_NOSIGNAL
      const int result = Run(entry);
      if (result >= 0) return result;
      if (result != -EAGAIN) {
        errno = -result;
        return -1;
      }
      io_uring_sqe wait{};
      wait.opcode = IORING_OP_POLL_ADD;
      wait.fd = fd;
      wait.poll32_events = events;
      Run(wait);
    }
  }

  int Run(const io_uring_sqe& entry) {
    const uint32_t tail = sq_tail_->load(std::memory_order_relaxed);
    sqes_[tail & sq_mask_] = entry;
    sq_array_[tail & sq_mask_] = tail & sq_mask_;
    sq_tail_->store(tail + 1, std::memory_order_release);
    while (syscall(__NR_io_uring_enter, fd_, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) < 0) {
      if (errno != EINTR) Die("io_uring_enter");
    }
    const uint32_t head = cq_head_->load(std::memory_order_relaxed);
    if (head == cq_tail_->load(std::memory_order_acquire)) Die("io_uring completion");
    const int result = cqes_[head & cq_mask_].res;
    cq_head_->store(head + 1, std::memory_order_release);
    return result;
  }

  int fd_ = -1;
  std::atomic<uint32_t>* sq_tail_;
  std::atomic<uint32_t>* cq_head_;
  std::atomic<uint32_t>* cq_tail_;
  uint32_t sq_mask_, cq_mask_;
  uint32_t* sq_array_;
  io_uring_cqe* cqes_;
  io_uring_sqe* sqes_;
};
