"""JSON-RPC of ``ovs`` with msgspec in place of its own parser, which takes 4 KiB at a time.

Messages follow each other on the stream without a separator. One is complete when the decoder complains about what
comes after it. ``ovs`` is untyped; see ``connection.py`` for what uses this.
"""

from __future__ import annotations

import errno
import re
from typing import Any

import msgspec
import ovs.jsonrpc
import structlog

log = structlog.get_logger()

READ = 1 << 20  # bytes
_SMALL = 1 << 16  # a message of that size is cheap to decode in vain
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_POSITION = re.compile(r"\(byte (\d+)\)")
_decode = msgspec.json.Decoder().decode


class BadMessage(ValueError):
    """The peer sent what is no JSON."""


class Frames:
    """Bytes in, decoded messages out. A message or a character may be cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0  # of what is not yet decoded
        self._tried = 0  # how much was there when decoding last failed for want of more

    def feed(self, data: bytes) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> Any:
        """The next message, or ``None`` if more bytes are needed. Raises ``BadMessage``."""
        size = len(self._buffer) - self._start
        if not size or not self._worth_trying(size):
            return None
        with memoryview(self._buffer) as whole, whole[self._start :] as rest:
            length, message = _first(rest)
        if message is None:
            self._tried = size
            return None
        self._start += length
        self._tried = 0
        if self._start == len(self._buffer):
            self._buffer = bytearray()
            self._start = 0
        return message

    def _worth_trying(self, size: int) -> bool:
        """A long message comes in many pieces: decoding its beginning at each of them would cost time squared."""
        return size < _SMALL or size >= 2 * self._tried or self._buffer[-1:] == b"}"


def _first(data: memoryview) -> tuple[int, Any]:
    try:
        return len(data), _decode(data)
    except UnicodeDecodeError as error:
        raise BadMessage(f"text that is no UTF-8: {error}") from None
    except msgspec.DecodeError as error:
        text = str(error)
    if match := _TRAILING.search(text):
        length = int(match[1]) - 1  # counted from 1
        return length, _decode(data[:length])
    if text == "Input data was truncated" or ((match := _POSITION.search(text)) and int(match[1]) >= len(data)):
        return 0, None  # a number cut in two counts as malformed where the input ends
    raise BadMessage(text)


class Connection(ovs.jsonrpc.Connection):  # type: ignore[misc]  # ovs is untyped
    """Reads and writes bytes; what it inherits would slice text by the number of bytes sent."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.output = b""
        self._frames = Frames()
        self._more = False

    def send(self, msg: Any) -> int:
        if not self.status:
            idle = not self.output
            self.output += msgspec.json.encode(msg.to_json())
            if idle:
                self.run()
        return int(self.status)

    def recv(self) -> tuple[int, Any]:
        """An error number and a message, one of them empty; ``EAGAIN`` if none is complete yet."""
        while not self.status:
            try:
                message = self._frames.next()
            except BadMessage as bad:
                return self._broken(errno.EPROTO, str(bad))
            if message is not None:
                self._more = True
                return self._checked(message)
            self._more = False
            error, data = self.stream.recv(READ)
            if error == errno.EAGAIN:
                return error, None
            if error or not data:
                self.error(error or ovs.jsonrpc.EOF)
                break
            self._frames.feed(data)
            self.received_bytes += len(data)
        return int(self.status), None

    def recv_wait(self, poller: Any) -> None:
        if self.status or self._more:
            poller.immediate_wake()
        else:
            self.stream.recv_wait(poller)

    def _checked(self, json: Any) -> tuple[int, Any]:
        message = ovs.jsonrpc.Message.from_json(json)
        return (0, message) if isinstance(message, ovs.jsonrpc.Message) else self._broken(errno.EPROTO, message)

    def _broken(self, number: int, reason: str) -> tuple[int, None]:
        log.warning("ovsdb.bad_message", remote=self.name, reason=reason)
        self.error(number)
        return int(self.status), None


class Session(ovs.jsonrpc.Session):  # type: ignore[misc]  # ovs is untyped
    """As its base, over the connection above."""

    rpc: Any

    @classmethod
    def instead_of(cls, other: Any) -> Session:
        """A session with the remotes and the timing of *other*, which must not have been run."""
        session = cls(other.reconnect, None, other.remotes)
        session.pick_remote()
        return session

    def run(self) -> None:
        super().run()
        if self.rpc is not None and not isinstance(self.rpc, Connection):
            self.rpc = Connection(self.rpc.stream)  # just made: nothing was read or sent yet
