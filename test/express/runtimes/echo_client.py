"""Posts bodies and compares what comes back, through asyncio's streams and through http.client, which blocks.
Arguments: HOST PORT SIZE...
"""
import asyncio
import http.client
import os
import sys

HOST, PORT = sys.argv[1], int(sys.argv[2])
BODIES = [os.urandom(int(size)) for size in sys.argv[3:]]


def blocking():
    connection = http.client.HTTPConnection(HOST, PORT)
    for body in BODIES:
        # A server that sends back as it reads needs somebody who reads meanwhile.
        if len(body) > 100_000:
            continue
        connection.request("POST", "/echo", body)
        if connection.getresponse().read() != body:
            raise SystemExit(f"http.client: another body came back for {len(body)} bytes")


async def read_body(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    body = b""
    while True:
        length = int((await reader.readuntil(b"\r\n")).strip(), 16)
        chunk = await reader.readexactly(length + 2)
        if not length:
            return body
        body += chunk[:-2]


async def streams():
    reader, writer = await asyncio.open_connection(HOST, PORT)
    for body in BODIES:
        answer = asyncio.create_task(read_body(reader))
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 65536):
            writer.write(body[start:start + 65536])
            await writer.drain()
        if await answer != body:
            raise SystemExit(f"asyncio: another body came back for {len(body)} bytes")
    writer.close()


asyncio.run(streams())
blocking()
print("ok")
