#pragma once

#include <bpf/bpf.h>

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// One pinned map with its key and value types. Thread-safe: every call is one system call, or a few of them with a
// batch each.
template <typename Key, typename Value>
class PinnedMap {
 public:
  static Result<PinnedMap> Open(const std::string& path) {
    PinnedMap map;
    map.fd_ = UniqueFd(bpf_obj_get(path.c_str()));
    if (!map.fd_) return Error{errno, "open pinned map " + path};
    map.path_ = path;
    return map;
  }

  std::optional<Value> Get(const Key& key) const {
    Value value{};
    if (bpf_map_lookup_elem(fd_.get(), &key, &value) != 0) return std::nullopt;
    return value;
  }

  Status Set(const Key& key, const Value& value) const {
    if (bpf_map_update_elem(fd_.get(), &key, &value, BPF_ANY) == 0) return Ok{};
    return UpdateError(errno);
  }

  // Hash maps only. On an error some of them may have been written.
  Status SetMany(std::span<const Key> keys, std::span<const Value> values) const {
    for (size_t done = 0; done < keys.size();) {
      uint32_t count = static_cast<uint32_t>(keys.size() - done);
      if (bpf_map_update_batch(fd_.get(), &keys[done], &values[done], &count, nullptr) != 0) return UpdateError(errno);
      done += count;
    }
    return Ok{};
  }

  void Remove(const Key& key) const { bpf_map_delete_elem(fd_.get(), &key); }

  // Hash maps only.
  void RemoveMany(std::span<const Key> keys) const {
    for (size_t done = 0; done < keys.size();) {
      uint32_t count = static_cast<uint32_t>(keys.size() - done);
      const int error = bpf_map_delete_batch(fd_.get(), &keys[done], &count, nullptr);
      // The batch ends at a key that is not there.
      done += count + (error != 0 ? 1 : 0);
    }
  }

  // Keys at this moment; entries that come and go meanwhile may be missed.
  std::vector<Key> Keys() const {
    std::vector<Key> keys;
    Key next{};
    for (int error = bpf_map_get_next_key(fd_.get(), nullptr, &next); error == 0;
         error = bpf_map_get_next_key(fd_.get(), &keys.back(), &next)) {
      keys.push_back(next);
    }
    return keys;
  }

  // Hash maps only. As Keys, at two system calls per thousand entries.
  std::vector<std::pair<Key, Value>> Entries() const {
    // A hash bucket is read as a whole: the batch must be larger than the fullest, which has a handful.
    constexpr uint32_t kBatch = 1024;
    std::vector<std::pair<Key, Value>> entries;
    std::vector<Key> keys(kBatch);
    std::vector<Value> values(kBatch);
    uint32_t position = 0;
    int patience = 1000;
    for (bool first = true, more = true; more; first = false) {
      uint32_t count = kBatch;
      const int error = bpf_map_lookup_batch(fd_.get(), first ? nullptr : &position, &position, keys.data(),
                                             values.data(), &count, nullptr);
      // A program held the bucket that is next; what came before it has been read.
      const bool held = error != 0 && (errno == EBUSY || errno == EDEADLK || errno == ETIMEDOUT);
      if (error != 0 && errno != ENOENT && (!held || --patience == 0)) break;
      for (uint32_t i = 0; i < count; ++i) entries.emplace_back(keys[i], values[i]);
      more = error == 0 || held;
    }
    return entries;
  }

  int fd() const { return fd_.get(); }

 private:
  Error UpdateError(int code) const {
    // The kernel's E2BIG would read "Argument list too long".
    return code == E2BIG ? Error{ENOSPC, path_ + " is full"} : Error{code, "update " + path_};
  }

  UniqueFd fd_;
  std::string path_;
};

template <typename Key, typename Value>
Status OpenMap(PinnedMap<Key, Value>& map, const std::string& path) {
  Result<PinnedMap<Key, Value>> opened = PinnedMap<Key, Value>::Open(path);
  if (!opened) return opened.error();
  map = std::move(*opened);
  return Ok{};
}

}  // namespace weft
