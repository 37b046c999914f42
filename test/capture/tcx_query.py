"""Prints the ids of the tcx programs at the ingress of DEVICE, in their order; Debian's bpftool does not know them."""
import ctypes
import os
import socket
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
BPF_PROG_QUERY, BPF_TCX_INGRESS, MOST = 16, 46, 64

ids = (ctypes.c_uint32 * MOST)()
device = socket.if_nametoindex(sys.argv[1])
query = struct.pack("<IIIIQI", device, BPF_TCX_INGRESS, 0, 0, ctypes.addressof(ids), MOST)
block = ctypes.create_string_buffer(query, 64)
if ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, BPF_PROG_QUERY, block, len(block)) < 0:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
count = struct.unpack_from("<I", block.raw, struct.calcsize("<IIIIQ"))[0]
print(*ids[:count])
