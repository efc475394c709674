"""The runc container that is a node: its root folder, its mounts, its specification."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox.command import run
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.roots import node_root
from ovnloom.sandbox.settings import CONTAINERD

ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
CNI_PLUGINS = ("loopback", "portmap", "bandwidth", "host-local")
FOLDERS = ("pki", "etc/cni/net.d", "opt/cni/bin", "etc/containerd", "store", "images", "var/lib/kubelet", "var/lib/containerd")
# linux/capability.h, by number; what a newer kernel adds, no node needs.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE"),
    *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT"),
    *("SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE"),
    *("AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"),
    *("PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A container called *name* in *plan*; `seed` is the one that fills the shared store and has no network."""

    plan: Plan
    name: str

    @property
    def folder(self) -> Path:
        return self.plan.folder / "nodes" / self.name

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def container(self) -> str:
        return self.plan.space(self.name)


def capabilities(status: str | None = None) -> list[str]:
    """The names of this process's bounding set; *status* is the text of /proc/self/status."""
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)", status or Path("/proc/self/status").read_text(), re.M)
    bits = int(match[1], 16) if match else 0
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if bits >> number & 1]


def unified_cgroups() -> bool:
    """Whether this machine has cgroup v2 alone."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def bind(target: str, source: Path, *options: str) -> dict[str, object]:
    return {"destination": target, "type": "bind", "source": str(source), "options": ["rbind", *options]}


def specification(machine: Machine, containerd: Path, store: Path | None, *, network: bool) -> dict[str, object]:
    """The OCI runtime specification of a node.

    /run is shared because pods ask for propagation on it; /var/lib/kubelet because kubelet mounts there for pods.
    """
    plan, allowed = machine.plan, capabilities()
    kinds: list[dict[str, str]] = [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "cgroup")]
    kinds.append({"type": "network", "path": f"/run/netns/{machine.container}"} if network else {"type": "network"})
    mounts: list[dict[str, object]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        bind("/dev", Path("/dev"), "rw"),
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["rw"]},
        # On cgroup v2 runc mounts the unified hierarchy for the same entry.
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "nosuid", "nodev", "noexec", "relatime"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "rshared"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        bind("/var/lib/containerd", containerd, "rw"),
        bind("/var/lib/kubelet", machine.folder / "kubelet", "rw", "rshared"),
        bind("/usr/local/bin", plan.bin.resolve(), "ro"),
        bind("/images", plan.cache.images, "ro"),
    ]
    if store:
        mounts.append(bind("/store", store, "ro"))
    return {
        "ociVersion": "1.0.2",
        "hostname": machine.name,
        "root": {"path": str(machine.root)},
        "process": {
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "args": ["/sbin/pause"],
            "env": ENV,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), allowed),
        },
        "mounts": mounts,
        "linux": {
            "namespaces": kinds,
            "rootfsPropagation": "rshared",
            "resources": {"devices": [{"allow": True, "access": "rwm"}]},
            "cgroupsPath": f"/{plan.cgroup}/{machine.name}",
        },
    }


def lay_out(machine: Machine) -> None:
    """Makes the node's folders and its root: a layer of its own over the shared Debian."""
    for name in ("upper", "work", "root", "bundle", "containerd", "kubelet"):
        (machine.folder / name).mkdir(parents=True)
    base = node_root().path(machine.plan.cache)
    layers = f"lowerdir={base},upperdir={machine.folder}/upper,workdir={machine.folder}/work"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, machine.root])
    for name in FOLDERS:
        (machine.root / name).mkdir(parents=True, exist_ok=True)
    for name in CNI_PLUGINS:
        shutil.copy2(base / "usr/lib/cni" / name, machine.root / "opt/cni/bin")
    shutil.copy2(machine.plan.cache.images / "pause", machine.root / "sbin/pause")
    texts = {
        "etc/containerd/config.toml": CONTAINERD,
        "etc/hostname": machine.name + "\n",
        "etc/resolv.conf": "",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {machine.name}\n",
    }
    for name, text in texts.items():
        (machine.root / name).write_text(text)


def boot(machine: Machine, containerd: Path, store: Path | None, *, network: bool = True) -> None:
    """Starts the container. Raises ``CommandFailed`` with runc's words."""
    bundle = machine.folder / "bundle"
    (bundle / "config.json").write_text(json.dumps(specification(machine, containerd, store, network=network), indent=1))
    run(["runc", "run", "-d", "-b", bundle, machine.container], log=machine.folder / "runc.log")
    if unified_cgroups():
        delegate(machine)


def delegate(machine: Machine) -> None:
    """cgroup v2: a group with processes has no children with controllers, so the node's own processes move aside."""
    script = (
        "mkdir -p /sys/fs/cgroup/system && for pid in $(cat /sys/fs/cgroup/cgroup.procs); do"
        " echo $pid > /sys/fs/cgroup/system/cgroup.procs || true; done;"
        " for name in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$name > /sys/fs/cgroup/cgroup.subtree_control || true; done"
    )
    execute(machine, ["sh", "-c", script])


def execute(machine: Machine, argv: list[str], *, check: bool = True, timeout: float | None = None) -> str:
    """Runs *argv* in the node, returns its output. Raises ``CommandFailed``."""
    return run(["runc", "exec", machine.container, *argv], check=check, timeout=timeout)


def launch(machine: Machine, argv: list[str], name: str) -> None:
    """Starts the daemon *argv* in the node; its output goes to the node's /var/log/<name>.log."""
    script = 'log=$1; shift; exec "$@" >"$log" 2>&1'
    run(["runc", "exec", "-d", machine.container, "sh", "-c", script, "sh", f"/var/log/{name}.log", *argv], log=Path(os.devnull))
