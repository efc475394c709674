#!/usr/bin/python3 -ISE
"""The CNI plugin ``kube-ovn``: hands one call of the container runtime to the agent of this node and prints its answer.

README.md holds the contract; ``shim.c`` is the same program in C, and both answer the same bytes. This one is for a node
that the static binary does not run on. It imports only what the interpreter has built in, because start-up is its cost.
"""

import posix
import sys
from _json import make_scanner
from _signal import ITIMER_REAL, SIG_DFL, SIGALRM, SIGINT, setitimer, signal  # type: ignore[import-not-found]  # no stub exists
from _socket import AF_UNIX, SOCK_STREAM, socket

MILLISECONDS = 1000  # in a second of the time limits; the tests make it short
LIMIT, DEPTH, PATH = 1 << 20, 100, 107  # PATH: sun_path without its NUL
ENVIRONMENT, IO, DECODING, CONFIG, TRY_AGAIN, NOT_AVAILABLE = 4, 5, 6, 7, 11, 50  # of the CNI specification
ENOENT, EINTR, EACCES, ECONNRESET, ECONNREFUSED = 2, 4, 13, 104, 111
SOCKET = "/run/openvswitch/kube-ovn-daemon.sock"
VERSIONS = b'{"cniVersion":"1.1.0","supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
USAGE = (
    b"kube-ovn is a CNI plugin: a container runtime runs it, with CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS or VERSION) in the "
    b"environment and a network configuration on stdin\n"
)
LOOK = "look at: kubectl -n kube-system get pods -l app=kube-ovn-cni --field-selector spec.nodeName=NODE"
ESCAPES = {i: f"\\u{i:04x}" for i in range(32)} | {ord(c): "\\" + c for c in '"\\'}
DIGITS = b"0123456789"
HEX = b"0123456789abcdefABCDEF"
COMMANDS = {  # the path, the time limit in seconds, the error code when the agent does not answer
    b"ADD": ("add", 220, TRY_AGAIN),
    b"DEL": ("del", 60, TRY_AGAIN),
    b"CHECK": ("check", 30, TRY_AGAIN),
    b"GC": ("gc", 30, TRY_AGAIN),
    b"STATUS": ("status", 30, NOT_AVAILABLE),
}


class Failure(Exception):
    """A CNI error: its code, its message and its details."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(code, msg, details)
        self.code, self.msg, self.details = code, msg, details


class Unanswered(Exception):
    """Why there is no answer of the agent."""


class Scanning:
    """What the scanner of the interpreter's JSON module asks for: its own types tell arrays from objects, and no number counts."""

    strict = True
    object_hook = None
    object_pairs_hook = tuple  # of pairs: a nesting too deep must show even under a name that comes again

    @staticmethod
    def parse_int(text: str) -> int:
        return 0  # the text may be too long for int()

    parse_float = parse_int

    @staticmethod
    def parse_constant(name: str) -> object:
        raise ValueError(name)  # NaN and Infinity are not JSON


def decode(data: bytes) -> dict[str, object] | None:
    """The members of one JSON object, objects in it as tuples of pairs; None when *data* is anything else."""
    try:
        text = data.decode()
        start = len(text) - len(text.lstrip(" \t\n\r"))
        found, end = make_scanner(Scanning)(text, start)  # type: ignore[arg-type]  # typeshed wants a JSONDecoder: slow to import
    except (ValueError, StopIteration, RecursionError, SystemError):
        return None  # SystemError: before Python 3.13 the scanner has no name for its error while json.decoder is not imported
    if not isinstance(found, tuple) or text[end:].strip(" \t\n\r"):
        return None
    level: list[object] = [found]
    for _ in range(DEPTH):
        level = [child for parent in level for child in children(parent) if isinstance(child, list | tuple)]
        if not level:
            return dict(found)
    return None


def children(parent: object) -> list[object]:
    if isinstance(parent, tuple):
        return [member for _, member in parent]
    return parent if isinstance(parent, list) else []


def server_socket(config: dict[str, object]) -> str:
    """The path of the agent's socket. Raises Failure when the member is there and is none."""
    place: dict[str, object] = config
    if config.get("type") not in (None, "kube-ovn"):  # it is the address plugin of another one
        ipam = config.get("ipam")
        place = dict(ipam) if isinstance(ipam, tuple) else {}
    path = place.get("server_socket")
    if path is None or path == "":
        return SOCKET
    if not isinstance(path, str) or len(path) > PATH or not path.isascii() or "\0" in path:
        details = "server_socket must be the path of a unix socket: at most 107 ASCII characters, without NUL"
        raise Failure(CONFIG, "invalid network configuration", details)
    return path


def environment() -> str:
    """The CNI_* variables as members of a JSON object. Raises Failure for one that JSON cannot carry."""
    members = []
    for name, value in posix.environ.items():
        if not name.startswith(b"CNI_"):
            continue
        shown = "CNI_..."
        try:
            shown = name.decode()
            members.append(f'"{shown.translate(ESCAPES)}": "{value.decode().translate(ESCAPES)}"')
        except UnicodeDecodeError:
            raise Failure(ENVIRONMENT, f"not UTF-8: the environment variable {shown}") from None
    return ", ".join(members)


def unchunk(data: bytes) -> bytes | None:
    """The content of a chunked body; None when it is not complete. Raises Unanswered when it is malformed."""
    content = b""
    while True:
        line, found, rest = data.partition(b"\r\n")
        if not found:
            return None
        digits = line.partition(b";")[0]
        if not 0 < len(digits) <= 7 or digits.strip(HEX):
            raise Unanswered("its answer is not understood")
        size = int(digits, 16)
        if size == 0:  # then trailers and an empty line
            return content if b"\r\n\r\n" in found + rest else None
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise Unanswered("its answer is not understood")
        content += rest[:size]
        data = rest[size + 2 :]


def framing(lines: list[bytes]) -> tuple[int, bool]:
    """What the header lines say: the length of the body, or -1, and whether it is chunked."""
    length, chunked = -1, False
    for line in lines:
        name, found, value = line.partition(b":")
        name, value = name.lower(), value.lstrip(b" \t\r\n")
        if found and name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
            if not chunked:
                raise Unanswered("its answer is not understood")
        elif found and name == b"content-length":
            if length >= 0 or not 0 < len(value) <= 9 or value.strip(DIGITS):
                raise Unanswered("its answer is not understood")
            length = int(value)
    return length, chunked


def parse(data: bytes, closed: bool) -> tuple[int, bytes] | None:
    """Status and body of an HTTP answer; None when it is not complete. Raises Unanswered when it is malformed."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    status = head[9:12]
    if head[:9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or len(status) < 3 or status.strip(DIGITS):
        raise Unanswered("its answer is not understood")
    if status[:1] not in (b"2", b"4", b"5") or head[12:13] not in (b" ", b"\r", b""):
        raise Unanswered("its answer is not understood")
    length, chunked = framing(head.split(b"\r\n")[1:])
    if status == b"204":
        return 204, b""
    if chunked:
        content = unchunk(body)
        return None if content is None else (int(status), content)
    if length < 0:
        return (int(status), body) if closed else None
    return (int(status), body[:length]) if len(body) >= length else None


def exchange(path: str, request: bytes) -> tuple[int, bytes]:
    """Sends the request and returns status and body. Raises Unanswered, and OSError of the connection."""
    peer = socket(AF_UNIX, SOCK_STREAM)
    peer.connect(path)
    try:  # noqa: SIM105  contextlib is slow to import
        peer.sendall(request)
    except OSError:
        pass  # what went wrong shows below; it may have answered all the same
    data = b""
    while True:
        more = peer.recv(LIMIT - len(data))
        data += more
        answer = parse(data, closed=not more)
        if answer:
            return answer
        if len(data) == LIMIT:
            raise Unanswered("its answer is larger than 1 MiB")
        if not more:
            raise OSError(ECONNRESET, "")


def ask(path: str, verb: str, body: bytes, seconds: int) -> tuple[int, bytes]:
    """Status and body of the agent's answer. Raises Unanswered with the reason, also when the time is up."""

    def ring(*_: object) -> None:
        raise Unanswered(f"no answer within {seconds} s")

    reasons = {
        ENOENT: "there is no such socket",
        ECONNREFUSED: "nobody listens on it",
        EACCES: "permission denied",
        ECONNRESET: "it closed the connection before its answer was complete",
    }
    head = (
        f"POST /api/v1/{verb} HTTP/1.1\r\nHost: kube-ovn-cni\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    signal(SIGALRM, ring)
    setitimer(ITIMER_REAL, seconds * MILLISECONDS / 1000)
    try:
        return exchange(path, head.encode() + body)
    except OSError as error:
        raise Unanswered(reasons.get(error.errno or 0, f"error number {error.errno}")) from None
    finally:
        setitimer(ITIMER_REAL, 0)


def read_stdin() -> bytes:
    data = b""
    while len(data) <= LIMIT:
        try:
            more = posix.read(0, LIMIT + 1 - len(data))
        except OSError:
            raise Failure(IO, "cannot read stdin") from None
        if not more:
            break
        data += more
    return data


def call(command: bytes, data: bytes, config: dict[str, object] | None) -> tuple[int, bytes]:
    """Exit status and output of one call but VERSION. Raises Failure."""
    env = environment()
    if command not in COMMANDS:
        raise Failure(ENVIRONMENT, f"CNI_COMMAND must be ADD, DEL, CHECK, GC, STATUS or VERSION, not {command.decode()}")
    if config is None:
        details = "stdin must hold the network configuration: one JSON object in UTF-8, at most 1 MiB long and 100 levels deep"
        raise Failure(DECODING, "failed to decode content", details)
    path = server_socket(config)
    verb, seconds, down = COMMANDS[command]
    body = b'{"env": {%b}, "config": %b}' % (env.encode(), data)
    try:
        status, answer = ask(path, verb, body, seconds)
        if status >= 400 and decode(answer) is None:
            raise Unanswered("it answered with an error that is not a CNI error")
    except Unanswered as why:
        raise Failure(down, f"the agent of this node does not answer at {path}", f"{why}; {LOOK}") from None
    return int(status >= 400), answer


def cni_version(config: dict[str, object] | None) -> str:
    version = config.get("cniVersion") if config else None
    known = isinstance(version, str) and 0 < len(version) <= 16 and not version.strip("0123456789.")
    return str(version) if known else "1.0.0"


def write(fd: int, data: bytes) -> int:
    """Exit status of writing all of *data*."""
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError:
        return 1
    return 0


def main() -> int:
    command = posix.environ.get(b"CNI_COMMAND")
    if command is None:
        write(2, USAGE)
        return 1
    if command == b"VERSION":
        return write(1, VERSIONS)
    config = None
    try:
        data = read_stdin()
        config = decode(data) if len(data) <= LIMIT else None
        status, output = call(command, data, config)
    except Failure as failure:
        status = 1
        msg, details = (text.translate(ESCAPES) for text in (failure.msg, failure.details))
        error = f'{{"cniVersion": "{cni_version(config)}", "code": {failure.code}, "msg": "{msg}", "details": "{details}"}}\n'
        output = error.encode()
    return write(1, output) or status


def crash(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """What a bug looks like to the runtime: a CNI error too, no traceback."""
    text = f"{kind.__name__}: {error}".encode("ascii", "replace").decode().translate(ESCAPES)
    write(1, f'{{"cniVersion": "1.0.0", "code": 999, "msg": "the CNI plugin failed", "details": "{text}"}}\n'.encode())


if __name__ == "__main__":
    sys.excepthook = crash
    signal(SIGINT, SIG_DFL)
    sys.exit(main())
