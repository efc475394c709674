"""A node for tests: a network namespace with a real ovsdb-server and a real userspace ovs-vswitchd in it.

Programs come from PATH, or from the Debian 13 root folder that the sandbox makes (``$OVNLOOM_CACHE/roots/product``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
SCHEMA = "usr/share/openvswitch/vswitch.ovsschema"


def root_folder() -> Path | None:
    """Where OVS is installed, or ``None``."""
    if shutil.which("ovs-vswitchd") and Path("/", SCHEMA).exists():
        return Path("/")
    cache = Path(os.environ.get("OVNLOOM_CACHE") or Path.home() / ".cache/ovnloom") / "roots/product"
    return cache if (cache / SCHEMA).exists() else None


def missing() -> str:
    """Why a test with a node cannot run here; ``""`` if it can."""
    if os.geteuid():
        return "needs root"
    if root_folder() is None:
        return "needs ovsdb-server and ovs-vswitchd"
    return "" if shutil.which("nft") and shutil.which("ip") else "needs nft and ip"


def need_node() -> None:
    """Skips the test if it cannot run; where ``CI_NO_SKIP`` is 1 it fails instead."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)(reason)


def sh(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


class Node:
    """The processes of one node. *home* is one path inside and outside of the programs' root."""

    def __init__(self, home: Path, root: Path) -> None:
        self.home, self.root = home, root
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint(self) -> str:
        return f"unix:{self.home}/db.sock"

    def _words(self, words: tuple[str, ...]) -> list[str]:
        if self.root == Path("/"):
            return list(words)
        home, root = self.home, self.root
        mounts = f"mkdir -p {root}{home}; mount --bind {home} {root}{home}; mount --rbind /dev {root}/dev; mount -t proc proc {root}/proc"
        return ["unshare", "-m", "bash", "-euc", f'{mounts}; exec chroot {root} "$@"', "-", *words]

    def spawn(self, name: str, *words: str) -> None:
        log = (self.home / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            self._words(words), stdout=log, stderr=log, env={**os.environ, "OVS_RUNDIR": str(self.home)}
        )

    def run(self, *words: str) -> str:
        return sh(*self._words(words))

    def vsctl(self, *words: str) -> str:
        return self.run("ovs-vsctl", f"--db={self.endpoint}", "-t", "5", *words).strip()

    def start_database(self) -> None:
        database = self.home / "conf.db"
        if not database.exists():
            self.run("ovsdb-tool", "create", str(database), f"/{SCHEMA}")
        self.spawn("ovsdb-server", "ovsdb-server", f"--remote=punix:{self.home}/db.sock", f"--unixctl={self.home}/db.ctl", str(database))
        wait(lambda: (self.home / "db.sock").exists(), "ovsdb-server")
        self.vsctl("--no-wait", "init")

    def start_switch(self) -> None:
        self.spawn("ovs-vswitchd", "ovs-vswitchd", f"--unixctl={self.home}/vswitchd.ctl", self.endpoint)
        ids = {"system-id": "chassis-1", "ovn-encap-ip": "192.0.2.1", "ovn-encap-type": "geneve", "ovn-bridge-datapath-type": "netdev"}
        self.vsctl("set", "Open_vSwitch", ".", *(f"external_ids:{key}={value}" for key, value in ids.items()))
        self.vsctl("--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure")

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if name == "ovsdb-server":
            (self.home / "db.sock").unlink(missing_ok=True)

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name)


@contextmanager
def node() -> Iterator[Node]:
    """The calling thread, and what it starts, is on the node until the end. ``eth1`` has the tunnels' address, MTU 1600."""
    root = root_folder()
    assert root is not None
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    home = Path(tempfile.mkdtemp(prefix="ovnloom-node-", dir="/run"))
    _check(_libc.unshare(_CLONE_NEWNET))
    made = Node(home, root)
    try:
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "eth1", "mtu", "1600", "type", "veth", "peer", "name", "wire", "mtu", "1600")
        sh("ip", "address", "add", "192.0.2.1/24", "dev", "eth1")
        sh("ip", "address", "add", "192.0.2.2/24", "dev", "lo")
        sh("ip", "link", "set", "eth1", "up")
        made.start_database()
        made.start_switch()
        yield made
    finally:
        made.close()
        _check(_libc.setns(before, _CLONE_NEWNET))
        os.close(before)
        shutil.rmtree(home, ignore_errors=True)
        if root != Path("/"):
            shutil.rmtree(Path(f"{root}{home}"), ignore_errors=True)


@contextmanager
def pod_namespace(name: str) -> Iterator[str]:
    """An empty network namespace, as the container runtime makes one."""
    sh("ip", "netns", "add", name)
    try:
        yield f"/run/netns/{name}"
    finally:
        sh("ip", "netns", "delete", name, check=False)


def wait(condition: object, what: str, seconds: float = 10.0) -> None:
    """Of tests only: the programs above have no other way to say that they are up."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.02)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
