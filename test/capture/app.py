"""What the capture tests' applications have in common. Everything returned is ready for JSON."""
import errno
import json
import resource
import select
import socket
import struct
import sys
import threading
import time

V4, V6 = socket.AF_INET, socket.AF_INET6
TIMEOUT = 10
MPTCP = 262
TCP_FASTOPEN_CONNECT = 30
AF_UNSPEC_ADDRESS = struct.pack("=H14x", socket.AF_UNSPEC)


def show(value):
    """Prints the answer for the test."""
    print(json.dumps(value), flush=True)


def family_of(ip):
    return V6 if ":" in ip else V4


def at(address):
    """'ip:port' or '[ip]:port' of a socket address."""
    ip, port = address[0], address[1]
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def stream(family, proto=0, device=None):
    sock = socket.socket(family, socket.SOCK_STREAM, proto)
    sock.settimeout(TIMEOUT)
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    return sock


def line(sock):
    """One line, or what came before the end."""
    data = b""
    while not data.endswith(b"\n"):
        more = sock.recv(1)
        if not more:
            break
        data += more
    return data.decode().strip()


def views(sock, banner):
    """Both ends' view of a connection to the agent's echo."""
    agent = dict(word.split("=", 1) for word in banner.split())
    own = at(sock.getsockname())
    return {"local": own.rsplit(":", 1)[0], "peer": at(sock.getpeername()), "orig": agent["orig"],
            "same_port": agent["peer"].rsplit(":", 1)[1] == own.rsplit(":", 1)[1]}


def error_of(action):
    """The errno name that the action fails with, or what it returns."""
    try:
        return action()
    except TimeoutError:
        return "timeout"
    except OSError as failure:
        return errno.errorcode.get(failure.errno, str(failure))


def dial(ip, port, **options):
    """Connects and reads one line; an errno name when that fails."""
    def attempt():
        with stream(family_of(ip), **options) as sock:
            sock.connect((ip, port))
            return line(sock)
    return error_of(attempt)


def listener(ip, port, device=None, proto=0):
    """A listening socket; '::' takes IPv4 as well."""
    sock = stream(family_of(ip), proto, device)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ip == "::":
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.settimeout(None)
    sock.bind((ip, port))
    sock.listen(1024)
    return sock


def tell_client(server):
    """Tells each client what the server sees of it, until the program ends."""
    while True:
        sock, peer = server.accept()
        text = {"accept": at(peer), "peer": at(sock.getpeername()), "local": at(sock.getsockname())}
        sock.sendall(json.dumps(text).encode() + b"\n")
        sock.close()


def use_all_files():
    """As many open sockets as this process may have; raising the hard limit would need a capability."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def in_background(action, *args):
    threading.Thread(target=action, args=args, daemon=True).start()


def stay():
    """Says that the servers are up and lives until the bed goes."""
    print("ready", flush=True)
    threading.Event().wait()


def act(sock, steps):
    """Does the steps one after the other and returns how much it has sent and received."""
    done = [0, 0]

    def send(size):
        for start in range(0, size, 50_000):
            sock.sendall(bytes(min(50_000, size - start)))
        done[0] += size

    def receive(size):
        """A negative size: until the other end has finished."""
        left = size
        while left:
            data = sock.recv(65536 if left < 0 else min(65536, left))
            if not data:
                return
            done[1] += len(data)
            left -= len(data) if left > 0 else 0

    for name, *sizes in steps:
        if name == "send":
            send(sizes[0])
        elif name == "receive":
            receive(sizes[0])
        elif name == "both":
            writer = threading.Thread(target=send, args=(sizes[0],))
            writer.start()
            receive(sizes[1])
            writer.join()
        elif name == "finish":
            sock.shutdown(socket.SHUT_WR)
        elif name == "drain":
            receive(-1)
        elif name == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        elif name == "close":
            sock.close()
    return done


def serve_steps(server):
    """Does on each connection what its first line says, until the program ends."""
    def one(sock):
        error_of(lambda: act(sock, json.loads(line(sock) or "[]")))
        sock.close()
    while True:
        in_background(one, server.accept()[0])


def talk(sock, theirs, own):
    """Tells the server its steps and does one's own: what was sent and received, and from which port."""
    port = sock.getsockname()[1]
    steps = json.dumps(theirs).encode() + b"\n"
    sock.sendall(steps)
    sent, received = act(sock, own)
    return {"port": port, "sent": sent + len(steps), "received": received}
