#include "bpf/event_reader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>

#include <cstring>
#include <utility>

#include "bpf/program_set.h"

namespace weft {

void EventReader::RingDeleter::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Result<std::unique_ptr<EventReader>> EventReader::Start(const PinPaths& pins, std::function<void()> ready) {
  std::unique_ptr<EventReader> reader(new EventReader(std::move(ready)));
  reader->folder_ = UniqueFd(open(pins.maps.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!reader->folder_) return Error{errno, "open " + pins.maps};
  const std::string path = pins.Map("weft_events");
  const UniqueFd map(bpf_obj_get(path.c_str()));
  if (!map) return Error{errno, "open pinned map " + path};
  reader->ring_.reset(ring_buffer__new(map.get(), &OnRecord, reader.get(), nullptr));
  if (!reader->ring_) return Error{errno, "map " + path};
  reader->thread_ = std::thread([self = reader.get()] { self->Run(); });
  return reader;
}

EventReader::~EventReader() { Stop(); }

void EventReader::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    events_.clear();
  }
  stop_.notify_one();
  if (thread_.joinable()) thread_.join();
}

std::vector<weft_event> EventReader::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void EventReader::Run() {
  pthread_setname_np(pthread_self(), "weft-events");
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kPeriod, [this] { return stopped_; })) {
    // A ring has one reader's position, which two would overwrite each other.
    if (!events_.empty() || flock(folder_.get(), LOCK_EX | LOCK_NB) != 0) continue;
    lock.unlock();
    std::vector<weft_event> batch;
    ReadBatch(batch);
    lock.lock();
    if (batch.empty() || stopped_) continue;
    events_ = std::move(batch);
    lock.unlock();
    ready_();
    lock.lock();
  }
}

void EventReader::ReadBatch(std::vector<weft_event>& batch) {
  filling_ = &batch;
  ring_buffer__consume(ring_.get());
  filling_ = nullptr;
}

int EventReader::OnRecord(void* self, void* data, size_t size) {
  std::vector<weft_event>& batch = *static_cast<EventReader*>(self)->filling_;
  if (size != sizeof(weft_event)) return 0;
  std::memcpy(&batch.emplace_back(), data, sizeof(weft_event));
  // A negative number ends the reading behind this record.
  return batch.size() < kMaxBatch ? 0 : -ENOBUFS;
}

}  // namespace weft
