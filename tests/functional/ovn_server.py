"""Real OVN databases for tests: ovsdb-server for north- and southbound, ovn-northd when asked for, or a cluster of three.

OVN 24.03 or newer comes from PATH, else from a root folder: ``$OVNLOOM_OVN_ROOT``, else the one that the sandbox
makes in the cache; it is entered with chroot, which needs root. Without either tests skip with the reason; with
``CI_NO_SKIP=1`` they fail. Everything listens on unix sockets, but for TLS, which is on 127.0.0.1.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OLDEST = (24, 3)
START = 20.0  # seconds that a start may take
DATABASES = {"nb": "OVN_Northbound", "sb": "OVN_Southbound"}


def _version(words: list[str]) -> tuple[int, ...]:
    try:
        done = subprocess.run([*words, "ovn-nbctl", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"ovn-nbctl (\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else ()


def root_folder() -> Path:
    """Where OVN is installed. Skips the test, or fails it in CI, if it is nowhere."""
    if _version([]) >= OLDEST:
        return Path("/")
    cache = Path(os.environ.get("OVNLOOM_CACHE") or Path.home() / ".cache/ovnloom").expanduser()
    root = Path(os.environ.get("OVNLOOM_OVN_ROOT") or cache / "roots/product").expanduser().resolve()
    if not (root / "usr/bin/ovn-nbctl").exists():
        reason = f"needs OVN 24.03 or newer in PATH or in {root}"
    elif os.geteuid():
        reason = f"needs root to enter {root}"
    elif _version(["chroot", str(root)]) >= OLDEST:
        return root
    else:
        reason = f"OVN in {root} is older than 24.03"
    (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)(reason)


class Ovn:
    """Programs of OVN over one folder, whose path is the same inside and outside of their root."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home, self.root = home, root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def words(self, *program: str) -> list[str]:
        """The command line that runs *program*; in a mount namespace of its own, so that nothing is left in the root folder."""
        if self.root == Path("/"):
            return list(program)
        script = (
            'root=$1 home=$2; shift 2; mount -t tmpfs tmpfs "$root/tmp"; mkdir -p "$root$home"; mount --bind "$home" "$root$home"; '
            'mount --bind /dev "$root/dev"; mount --bind /proc "$root/proc"; exec chroot "$root" "$@"'
        )
        return ["unshare", "-m", "bash", "-euc", script, "-", str(self.root), str(self.home), *program]

    def run(self, *program: str) -> str:
        done = subprocess.run(self.words(*program), capture_output=True, text=True, check=False, env=self._environment())
        assert done.returncode == 0, f"{' '.join(program)}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, name: str, *program: str) -> None:
        with (self.home / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                self.words(*program), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=self._environment()
            )

    def end(self, name: str, sign: int = signal.SIGTERM) -> None:
        """Returns when the process is gone."""
        process = self._processes.pop(name)
        process.send_signal(sign)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def down(self) -> None:
        for name in list(self._processes)[::-1]:
            self._processes[name].send_signal(signal.SIGCONT)
            self.end(name)

    def socket(self, name: str) -> Path:
        return self.home / f"{name}.sock"

    def remote(self, *names: str) -> str:
        return ",".join(f"unix:{self.socket(name)}" for name in names)

    # databases

    def create(self, name: str, kind: str) -> None:
        """An empty standalone database. *kind* is ``nb`` or ``sb``."""
        self.run("ovsdb-tool", "create", f"{self.home}/{name}.db", f"/usr/share/ovn/ovn-{kind}.ovsschema")

    def serve(self, name: str, *options: str) -> None:
        """Returns when the server takes connections."""
        self.socket(name).unlink(missing_ok=True)
        self.spawn(
            name,
            "ovsdb-server",
            "-vconsole:off",
            f"--log-file={self.home}/{name}.log",
            f"--unixctl={self.home}/{name}.ctl",
            f"--remote=punix:{self.socket(name)}",
            *options,
            f"{self.home}/{name}.db",
        )
        self._until(self.socket(name).exists, f"{name} does not listen")

    def northd(self) -> None:
        self.spawn(
            "northd",
            "ovn-northd",
            "-vconsole:off",
            f"--log-file={self.home}/northd.log",
            f"--unixctl={self.home}/northd.ctl",
            f"--ovnnb-db={self.remote('nb')}",
            f"--ovnsb-db={self.remote('sb')}",
        )

    def nbctl(self, *arguments: str) -> str:
        return self.run("ovn-nbctl", "--no-leader-only", f"--db={self.remote('nb')}", *arguments)

    def sbctl(self, *arguments: str) -> str:
        return self.run("ovn-sbctl", "--no-leader-only", f"--db={self.remote('sb')}", *arguments)

    def trace(self, *arguments: str) -> str:
        return self.run("ovn-trace", f"--db={self.remote('sb')}", *arguments)

    def appctl(self, name: str, *arguments: str) -> str:
        return self.run("ovs-appctl", "-t", f"{self.home}/{name}.ctl", *arguments)

    # a cluster of three

    def form_cluster(self, *names: str) -> None:
        """Northbound servers in Raft, the first one founds it."""
        first, *others = names
        address = {name: f"unix:{self.home}/{name}.raft" for name in names}
        self.run("ovsdb-tool", "create-cluster", f"{self.home}/{first}.db", "/usr/share/ovn/ovn-nb.ovsschema", address[first])
        self.serve(first)
        for name in others:
            self.run("ovsdb-tool", "join-cluster", f"{self.home}/{name}.db", DATABASES["nb"], address[name], address[first])
            self.serve(name)
        for name in names:
            self.run("ovsdb-client", "-t", str(int(START)), "wait", self.remote(name), DATABASES["nb"], "connected")

    def leader(self, *names: str) -> str:
        """Which of *names* leads; waits for an election."""
        found: list[str] = []

        def elected() -> bool:
            found[:] = [name for name in names if "Role: leader" in self.appctl(name, "cluster/status", DATABASES["nb"])]
            return bool(found)

        self._until(elected, "nobody leads")
        return found[0]

    @staticmethod
    def _until(condition: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + START
        while not condition():
            assert time.monotonic() < until, complaint
            time.sleep(0.02)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "OVN_RUNDIR": str(self.home), "OVS_RUNDIR": str(self.home)}


@contextmanager
def programs() -> Iterator[Ovn]:
    """OVN over a folder of its own; what was started ends with it."""
    root = root_folder()
    home = Path(tempfile.mkdtemp(prefix="ovn-", dir="/tmp"))  # a socket's path has room for 107 bytes
    ovn = Ovn(home, root)
    try:
        yield ovn
    finally:
        ovn.down()
        shutil.rmtree(home)


@pytest.fixture
def ovn() -> Iterator[Ovn]:
    """An empty northbound and southbound database."""
    with programs() as ovn:
        for name in DATABASES:
            ovn.create(name, name)
            ovn.serve(name)
        yield ovn


@pytest.fixture
def nb() -> Iterator[Ovn]:
    """An empty northbound database."""
    with programs() as ovn:
        ovn.create("nb", "nb")
        ovn.serve("nb")
        yield ovn


@pytest.fixture
def cluster() -> Iterator[Ovn]:
    """Three northbound servers in Raft: n1, n2, n3."""
    with programs() as ovn:
        ovn.form_cluster("n1", "n2", "n3")
        yield ovn
