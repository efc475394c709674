"""A real etcd and kube-apiserver for tests: no root, no kubelet, nothing listens but on 127.0.0.1.

The binaries are found in ``$OVNLOOM_BIN``, else where the product builds them, else in ``$PATH``. Without them tests
skip with the reason; with ``CI_NO_SKIP=1`` they fail.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ADMIN, NOBODY = "admin-token", "nobody-token"
START = 60.0  # seconds that a start may take


def binary(name: str) -> Path | None:
    cache = Path(os.environ.get("OVNLOOM_CACHE", Path.home() / ".cache/ovnloom"))
    folder = Path(os.environ.get("OVNLOOM_BIN", cache / "bin/current")).expanduser()
    if os.access(folder / name, os.X_OK):
        return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ApiServer:
    """``start`` and ``stop`` either process by its name, ``etcd`` or ``kube-apiserver``; data outlives both."""

    def __init__(self, home: Path, etcd: Path, kube_apiserver: Path) -> None:
        self.home, self._binaries = home, {"etcd": etcd, "kube-apiserver": kube_apiserver}
        self._ports = {"api": free_port(), "etcd": free_port(), "peer": free_port()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self.kubeconfig = home / "kubeconfig"

    def up(self) -> None:
        subprocess.run(["openssl", "genrsa", "-out", str(self.home / "sa.key"), "2048"], check=True, capture_output=True)
        (self.home / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{NOBODY},nobody,2\n')
        self.start("etcd")
        self.start("kube-apiserver")
        self.kubeconfig.write_text(json.dumps(self._kubeconfig(ADMIN)))
        self._wait_for_namespace()

    def _wait_for_namespace(self) -> None:
        """``default`` is made by the API server shortly after it says that it is ready."""
        until = time.monotonic() + START
        while True:
            try:
                self.request("GET", "/api/v1/namespaces/default")
                return
            except urllib.error.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def down(self) -> None:
        self.stop("kube-apiserver")
        self.stop("etcd")

    def start(self, name: str) -> None:
        """Returns when it is ready."""
        arguments = self._etcd() if name == "etcd" else self._kube_apiserver()
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(self._binaries[name]), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        until = time.monotonic() + START
        while not self._ready(name):
            if self._processes[name].poll() is not None or time.monotonic() > until:
                tail = (self.home / f"{name}.log").read_text()[-2000:]
                raise RuntimeError(f"{name} did not get ready:\n{tail}")
            time.sleep(0.05)

    def stop(self, name: str, *, kill: bool = False) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _etcd(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{self._ports[p]}" for p in ("etcd", "peer"))
        return [
            f"--data-dir={self.home}/etcd",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=error",
        ]

    def _kube_apiserver(self) -> list[str]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.1",  # with no endpoints reconciled it is only a value
            f"--secure-port={self._ports['api']}",
            f"--cert-dir={self.home}",
            f"--token-auth-file={self.home}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/12",
            f"--service-account-key-file={self.home}/sa.key",
            f"--service-account-signing-key-file={self.home}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _kubeconfig(self, token: str) -> dict[str, Any]:
        authority = base64.b64encode((self.home / "apiserver.crt").read_bytes()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }

    def kubeconfig_of(self, token: str) -> Path:
        """A kubeconfig of somebody else (``NOBODY`` has no rights)."""
        path = self.home / f"kubeconfig-{token}"
        path.write_text(json.dumps(self._kubeconfig(token)))
        return path

    def _ready(self, name: str) -> bool:
        try:
            if name == "etcd":
                with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['etcd']}/health", timeout=5) as answer:
                    return bool(json.load(answer)["health"] == "true")
            return self.request("GET", "/readyz") == b"ok"
        except OSError:
            return False

    def request(self, verb: str, path: str, body: Any = None, *, content_type: str = "application/json") -> bytes:
        """As admin, by nothing of the product. Raises ``urllib.error.HTTPError``."""
        ask = urllib.request.Request(self.url + path, method=verb, data=json.dumps(body).encode() if body is not None else None)
        ask.add_header("Authorization", f"Bearer {ADMIN}")
        ask.add_header("Content-Type", content_type)
        context = ssl.create_default_context(cafile=str(self.home / "apiserver.crt"))
        with urllib.request.urlopen(ask, context=context, timeout=30) as answer:
            return bytes(answer.read())

    def etcd(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        """A call of etcd's JSON gateway (``kv/range``, ``kv/deleterange``, ``kv/compaction``), behind the API server's back."""
        ask = urllib.request.Request(f"http://127.0.0.1:{self._ports['etcd']}/v3/{call}", method="POST", data=json.dumps(body).encode())
        with urllib.request.urlopen(ask, timeout=10) as answer:
            return dict(json.load(answer))

    def etcd_delete(self, key: str) -> None:
        deleted = self.etcd("kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})
        if deleted.get("deleted") != "1":
            raise RuntimeError(f"etcd has no {key}")

    def compact(self) -> None:
        """Makes etcd forget all history."""
        here = self.etcd("kv/range", {"key": base64.b64encode(b"x").decode()})["header"]["revision"]
        self.etcd("kv/compaction", {"revision": here, "physical": True})

    def namespace(self, name: str) -> str:
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name


def _missing() -> str:
    lacking = [name for name in ("etcd", "kube-apiserver", "openssl") if binary(name) is None]
    return f"not found: {', '.join(lacking)} (set OVNLOOM_BIN)" if lacking else ""


def running() -> Iterator[ApiServer]:
    """The body of a fixture of any scope."""
    if reason := _missing():
        if os.environ.get("CI_NO_SKIP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    etcd, kube_apiserver = binary("etcd"), binary("kube-apiserver")
    assert etcd and kube_apiserver
    tmpfs = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ovnloom-apiserver-", dir=tmpfs) as home:
        server = ApiServer(Path(home), etcd, kube_apiserver)
        try:
            server.up()
            yield server
        finally:
            server.down()


@pytest.fixture(scope="session")
def apiserver() -> Iterator[ApiServer]:
    """One for all tests of a session: they keep apart by namespaces of their own."""
    yield from running()
