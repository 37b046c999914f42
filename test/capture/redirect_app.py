"""Bytes there and back, for the tests of peer redirect."""
import os

from app import *


def echo(server):
    while True:
        sock, _ = server.accept()
        in_background(send_back, sock)


def send_back(sock):
    sock.settimeout(None)
    with sock:
        while data := sock.recv(1 << 18):
            sock.sendall(data)


def exchange(sock, count):
    """Sends `count` random bytes while it reads as many back: 'same', or what differs."""
    block = os.urandom(min(count, (1 << 20) + 7))
    data = (block * (count // len(block) + 1))[:count]
    in_background(send_all, sock, data)
    back = bytearray()
    while len(back) < count:
        more = sock.recv(1 << 18)
        if not more:
            return f"end after {len(back)}"
        back += more
    return "same" if back == data else "different"


def send_all(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass  # the reader tells


def talk(ip, port):
    """One connection; a number on stdin is an exchange of so many bytes, 'end' closes it."""
    sock = stream(family_of(ip))
    sock.connect((ip, port))
    print("ready", flush=True)
    for text in sys.stdin:
        if text.strip() == "end":
            sock.close()
            print("ended", flush=True)
            continue
        seconds, _, count = text.strip().rpartition(" ")
        sock.settimeout(float(seconds or TIMEOUT))
        print(error_of(lambda: exchange(sock, int(count))), flush=True)
