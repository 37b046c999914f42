"""TCP packets made by hand, for what no stack sends."""
import socket
import struct

ETH_P_IP, ETH_P_8021Q = 0x0800, 0x8100
FLAG_SYN, FLAG_ACK = 0x02, 0x10
# Nobody's; a bridge drops what has none.
SENDER = bytes.fromhex("020000000063")


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(source, source_port, destination, destination_port, mac, options=0, more_fragments=False, syn=False,
           vlan=None, cut=None):
    """An Ethernet frame with an empty segment out of the window. `options`: bytes of IP options; `cut`: its length."""
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    flags = FLAG_SYN if syn else FLAG_ACK
    tcp = struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 1, 5 << 4, flags, 1000, 0, 0)
    sum_tcp = checksum(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", sum_tcp) + tcp[18:]
    words = 5 + options // 4
    ip = struct.pack("!BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(tcp), 1, 0x2000 if more_fragments else 0, 64,
                     socket.IPPROTO_TCP, 0) + addresses + b"\1" * options
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    tag = b"" if vlan is None else struct.pack("!HH", ETH_P_8021Q, vlan)
    ethernet = bytes.fromhex(mac.replace(":", "")) + SENDER + tag + struct.pack("!H", ETH_P_IP)
    return (ethernet + ip + tcp)[:cut]


def send(device, frame, count):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        for _ in range(count):
            sock.send(frame)
