"""Runs in a pod. ``serve PORT``: echoes TCP. ``hold ADDRESS PORT``: one connection, a number every 10 ms, until a line on stdin.

Prints JSON then: how many numbers were sent and came back, and the longest time (seconds) in which none came back.
"""

from __future__ import annotations

import json
import select
import socket
import socketserver
import struct
import sys
import time

INTERVAL = 0.01
NUMBER = struct.Struct("!Q")
DRAIN = 30.0  # seconds for what is still on its way


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = daemon_threads = True


def hold(address: str, port: int) -> dict[str, object]:
    """Raises ``OSError`` when the connection breaks."""
    link = socket.create_connection((address, port), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setblocking(False)
    print("held", flush=True)
    sent = came = 0
    longest, pending, last = 0.0, b"", time.monotonic()
    due, end = last, 0.0
    while not end or (came < sent * NUMBER.size and time.monotonic() < end):
        now = time.monotonic()
        if not end and now >= due:
            pending += NUMBER.pack(sent)
            sent, due = sent + 1, now + INTERVAL
        readable, writable, _ = select.select([link, *([] if end else [sys.stdin])], [link] if pending else [], [], INTERVAL)
        if writable:
            pending = pending[link.send(pending) :]
        if link in readable:
            data = link.recv(65536)
            if not data:
                raise ConnectionError("the other side closed the connection")
            now = time.monotonic()
            longest, last, came = max(longest, now - last), now, came + len(data)
        if sys.stdin in readable:
            end = time.monotonic() + DRAIN
    return {"sent": sent, "came": came // NUMBER.size, "longest": round(longest, 3)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Server(("::", int(sys.argv[2])), Echo).serve_forever()
    print(json.dumps(hold(sys.argv[2], int(sys.argv[3]))), flush=True)
