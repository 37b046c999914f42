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
        try:
            while data := sock.recv(1 << 18):
                sock.sendall(data)
        except OSError:
            pass  # a reset, which the other end has made


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


def end_first(ip, port):
    """Ends the own direction, then reads what the other still has to say."""
    with stream(family_of(ip)) as sock:
        sock.connect((ip, port))
        sock.sendall(b"x" * 100_000)
        sock.close()
    return "ended"


def end_last_server(server):
    """Sends a lot while it reads, and closes when it has read everything."""
    while True:
        sock, _ = server.accept()
        with sock:
            while sock.recv(1 << 16):
                pass
            # The other has closed for good and is in FIN_WAIT2 by now.
            time.sleep(0.2)


def end_last(ip, port):
    with stream(family_of(ip)) as sock:
        sock.connect((ip, port))
        while sock.recv(1 << 16):
            pass
        time.sleep(0.2)
    return "ended"


def end_first_server(server):
    while True:
        sock, _ = server.accept()
        sock.sendall(b"x" * 100_000)
        sock.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def reset_own(ip, port):
    sock = stream(family_of(ip))
    sock.connect((ip, port))
    sock.sendall(b"x")
    sock.recv(1)
    reset(sock)
    return "ended"


def reset_other(ip, port):
    """The echo gets no room to send, and is reset when it tries to."""
    sock = stream(family_of(ip))
    sock.connect((ip, port))
    sock.sendall(b"x" * 1000)
    sock.recv(1)
    sock.close()  # with bytes unread: a reset
    return "ended"


def end_at_once(ip, port):
    with stream(family_of(ip)) as sock:
        sock.connect((ip, port))
    return "ended"


def reset_unheard(ip, port):
    """Ends a connection that the other end has not got the last packet of."""
    sock = stream(family_of(ip))
    sock.connect((ip, port))
    reset(sock)
    return "ended"


def fast_open_echo(port):
    """An echo that takes data with the SYN from who has a cookie."""
    with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as setting:
        setting.write("3")
    server = listener("::", port)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
    in_background(echo, server)
    stay()


def fast_open(ip, port):
    """Two connections: the first gets the cookie, the second brings data with its SYN."""
    said = []
    for _ in range(2):
        with stream(family_of(ip)) as sock:
            sock.settimeout(None)
            sock.sendto(b"x" * 500, socket.MSG_FASTOPEN, (ip, port))
            back = b""
            while len(back) < 500:
                back += sock.recv(500)
            said.append(exchange(sock, 100_000))
    return said


def meet(own_port, ip, port):
    """Connects when it is told to, without waiting; then exchanges with whoever does the same from the other end."""
    sock = stream(family_of(ip))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::" if ":" in ip else "0.0.0.0", own_port))
    sock.setblocking(False)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sock.connect_ex((ip, port)), flush=True)
    sys.stdin.readline()
    select.select([], [sock], [], TIMEOUT)
    sock.settimeout(TIMEOUT)
    sender = threading.Thread(target=send_all, args=(sock, b"x" * 100_000))
    sender.start()
    count = 0
    while count < 100_000 and (more := sock.recv(1 << 16)):
        count += len(more)
    sender.join()
    sock.shutdown(socket.SHUT_WR)
    print(f"{count} {sock.recv(1)}", flush=True)
    sock.close()
