"""Something like a container for the start scripts: own network, mounts and processes, a Debian with OVN as its root.

Everything in it ends with it, whatever becomes of the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "deploy" / "image" / "scripts"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 60.0  # seconds
# Scripts at /mnt, state in /tmp and the usual folders; the root folder itself is shared with others and stays as it is.
SETUP = """
root=$1 scripts=$2
mount --make-rprivate /
for folder in tmp run etc/openvswitch; do mkdir -p "$root/$folder"; mount -t tmpfs tmpfs "$root/$folder"; done
mount --bind "$scripts" "$root/mnt"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --bind /dev "$root/dev"
ip link set lo up
exec sleep infinity
"""


class Box:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._started: list[subprocess.Popen[bytes]] = []
        words = ["unshare", "-n", "-m", "-p", "--fork", "--kill-child", "bash", "-euc", SETUP, "-", str(root), str(SCRIPTS)]
        self._init = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self._pid = wait_for(self._first_process)
        wait_for(lambda: self.succeeds("test", "-e", "/mnt/start-db.sh") and self.succeeds("test", "-e", "/sys/class/net/lo"))

    def _first_process(self) -> str:
        if self._init.poll() is not None:
            raise RuntimeError("the namespaces could not be made")
        return Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().strip()

    def _words(self, program: tuple[str, ...]) -> list[str]:
        return ["nsenter", "-t", self._pid, "-n", "-m", "-p", "--", "chroot", str(self.root), *program]

    def _done(self, program: tuple[str, ...], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        words, whole = self._words(program), {"PATH": PATH, **env}
        return subprocess.run(words, capture_output=True, text=True, env=whole, timeout=PATIENCE, check=False)

    def run(self, *program: str, check: bool = True, **env: str) -> str:
        """Its output."""
        done = self._done(program, env)
        assert not check or done.returncode == 0, f"{' '.join(program)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def succeeds(self, *program: str, **env: str) -> bool:
        return self._done(program, env).returncode == 0

    def path(self, inside: str) -> str:
        """The way from outside to what is *inside*, short enough for a unix socket."""
        return f"/proc/{self._pid}/root{self.root}{inside}"

    def shell(self, command: str, *, check: bool = True, **env: str) -> str:
        return self.run("bash", "-c", command, check=check, **env)

    def start(self, script: str, log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts one of the scripts as the first process of a pod would be. Its words go to *log*."""
        with log.open("ab") as out:
            words = self._words(("setpriv", "--pdeathsig", "KILL", "bash", f"/mnt/{script}"))
            started = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={"PATH": PATH, **env})
        self._started.append(started)
        return started

    def end(self, started: subprocess.Popen[bytes]) -> int:
        """Sends TERM to the script, as the kubelet does; its exit status."""
        os.kill(int(Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()), signal.SIGTERM)  # nsenter does not pass it on
        return started.wait(20)

    def close(self) -> None:
        self._init.kill()
        for process in (self._init, *self._started):
            process.wait(10)


def wait_for(condition: object, patience: float = PATIENCE) -> str:
    """Returns what *condition* returns once that is true."""
    assert callable(condition)
    until = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.05)
    return str(value)
