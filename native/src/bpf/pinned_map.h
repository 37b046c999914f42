#pragma once

#include <bpf/bpf.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace weft {

// One pinned map with its key and value types. Thread-safe: every call is one system call.
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
    // The kernel's E2BIG would read "Argument list too long".
    if (errno == E2BIG) return Error{ENOSPC, path_ + " is full"};
    return Error{errno, "update " + path_};
  }

  void Remove(const Key& key) const { bpf_map_delete_elem(fd_.get(), &key); }

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

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string path_;
};

}  // namespace weft
