#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace weft {

// Makes `dir` a folder on a bpffs: mounts one at /sys/fs/bpf when `dir` is below it and none is there, else at `dir`.
Status EnsureBpffsDir(const std::string& dir);

Status MakeDirs(const std::string& dir);

// Names in `dir`, without "." and ".."; empty when there is no such folder.
std::vector<std::string> ListDir(const std::string& dir);

// Detaches the link, if it is one, and removes the pin. Detaching does not wait for other processes that hold the link.
// Ok when there is none.
Status RemovePin(const std::string& path);

// RemovePin of everything below `dir`, and `dir` itself. Ok when there is no such folder.
Status RemovePinTree(const std::string& dir);

// The folders `v<ABI>` of a pin folder. Others may share the folder with us; what is named otherwise is theirs.
std::vector<std::string> VersionDirs(const std::string& pin_dir);

// RemovePinTree of every ABI version in a pin folder, then of the folder when nothing else is in it, and of a bpffs
// mounted right there. False when there was nothing. Refuses a folder that is not on a bpffs: it is not ours.
Result<bool> CleanupPins(const std::string& pin_dir);

}  // namespace weft
