"""The two plugins as processes, and a wire-level double of the agent that answers the bytes it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ovnloom.cni.build import SOURCE, TARGETS, binary

TWIN = SOURCE.with_name("shim.py")
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")


@dataclass(frozen=True)
class Ran:
    status: int
    out: bytes
    err: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The CNI error on stdout, and that it is one."""
        assert self.status == 1, self
        assert self.err == b"", self
        error: dict[str, Any] = json.loads(self.out)
        assert list(error) == ["cniVersion", "code", "msg", "details"]
        return error


@dataclass(frozen=True)
class Plugin:
    argv: tuple[str, ...]

    def __call__(self, command: str | None, stdin: bytes = b"{}", env: Mapping[str, str] | None = None) -> Ran:
        environ = {**(env or {}), "ASAN_OPTIONS": "detect_leaks=0"}  # the process is its own clean-up
        if command is not None:
            environ["CNI_COMMAND"] = command
        done = subprocess.run(self.argv, input=stdin, env=environ, capture_output=True, timeout=60, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)


def compiled(*defines: str) -> Plugin:
    if HOST not in TARGETS:
        pytest.skip(f"the C plugin is not built for {platform.machine()}")
    pytest.importorskip("ziglang", reason="the compiler of the C plugin is not installed: pip install ziglang")
    return Plugin((str(binary(HOST, *defines)),))


def interpreted(path: Path = TWIN) -> Plugin:
    return Plugin((sys.executable, "-ISE", str(path)))


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """The C plugin with the address and the undefined-behaviour sanitizer: they end it with another status than 0 and 1."""
    gcc = shutil.which("gcc")
    if not gcc:
        pytest.skip("gcc is not installed")
    output = tmp_path_factory.mktemp("gcc") / "kube-ovn"
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run([gcc, *flags, str(SOURCE), "-o", str(output)], check=True)
    return Plugin((str(output),))


@pytest.fixture(scope="session")
def plugins() -> Callable[[str], Plugin]:
    return lambda kind: compiled() if kind == "c" else interpreted()


@pytest.fixture(params=["c", "python"])
def plugin(request: pytest.FixtureRequest, plugins: Callable[[str], Plugin]) -> Plugin:
    return plugins(request.param)


@pytest.fixture
def changed_twin(tmp_path: Path) -> Callable[[str], Plugin]:
    """The twin with another number of milliseconds in a second."""

    def change(milliseconds: str) -> Plugin:
        twin = tmp_path / "shim.py"
        twin.write_text(TWIN.read_text().replace("MILLISECONDS = 1000", f"MILLISECONDS = {milliseconds}"))
        return interpreted(twin)

    return change


@pytest.fixture(params=["c", "python"])
def hasty(request: pytest.FixtureRequest, changed_twin: Callable[[str], Plugin]) -> Plugin:
    """The plugin with time limits a hundred times shorter."""
    return compiled("MILLISECONDS=10") if request.param == "c" else changed_twin("10")


@dataclass
class Agent:
    """*answer* is written piece by piece and the connection closed; None holds it open without a word."""

    path: str
    answer: list[bytes] | None = field(default_factory=list)
    read_first: bool = True
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)

    def config(self, **members: object) -> bytes:
        return json.dumps({"cniVersion": "1.0.0", "name": "n", "type": "kube-ovn", "server_socket": self.path} | members).encode()

    def reply(self, body: bytes, status: str = "200 OK") -> None:
        self.answer = [b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.read_first:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
                self.requests.append((head, await reader.readexactly(int(length.split()[1]))))
            if self.answer is None:
                await reader.read()
            for piece in self.answer or []:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass  # the plugin did not want the rest
        finally:
            writer.close()


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Agent]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    folder = tmp_path_factory.mktemp("run")
    servers: list[asyncio.Server] = []

    def start() -> Agent:
        agent = Agent(os.fspath(folder / f"{len(servers)}.sock"))
        starting = asyncio.start_unix_server(agent.serve, agent.path, limit=1 << 22)
        servers.append(asyncio.run_coroutine_threadsafe(starting, loop).result())
        return agent

    yield start
    for server in servers:
        loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def agent(agents: Callable[[], Agent]) -> Agent:
    return agents()
