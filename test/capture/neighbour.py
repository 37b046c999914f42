"""Puts a program of somebody else's on a device until it is killed: KIND (tcx-ingress, tcx-egress, xdp) DEVICE VERDICT."""
import ctypes
import os
import signal
import socket
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28
# Program type and attach type by kind.
KINDS = {"tcx-ingress": (3, 46), "tcx-egress": (3, 47), "xdp": (6, 37)}

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    block = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(SYS_BPF, command, block, len(block))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main(kind, device, verdict):
    program_type, attach_type = KINDS[kind]
    # r0 = verdict; exit
    code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xb7, 0, 0, int(verdict)) + struct.pack("<BBhi", 0x95, 0, 0, 0))
    license_text = ctypes.create_string_buffer(b"GPL")
    load = struct.pack("<IIQQIIQII16sII", program_type, 2, ctypes.addressof(code), ctypes.addressof(license_text),
                       0, 0, 0, 0, 0, b"neighbour", 0, attach_type if kind == "xdp" else 0)
    program = bpf(BPF_PROG_LOAD, load)
    bpf(BPF_LINK_CREATE, struct.pack("<IIII", program, socket.if_nametoindex(device), attach_type, 0))
    print("ready", flush=True)
    signal.pause()


main(*sys.argv[1:])
