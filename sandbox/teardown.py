"""Takes a bed down by what the kernel shows, not by what was written down: it works after any kind of death of `up`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox.command import remove_tree, run, succeeds
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.ready import TooLate, until

CGROUPS = Path("/sys/fs/cgroup")
NETNS = Path("/run/netns")
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Remains:
    """What the kernel still has of a bed."""

    containers: list[str]
    spaces: list[str]
    processes: list[int]
    mounts: list[str]
    cgroups: list[str]
    files: list[str]

    def __bool__(self) -> bool:
        return any((self.containers, self.spaces, self.processes, self.mounts, self.cgroups, self.files))

    def __str__(self) -> str:
        parts = [f"{name} {' '.join(map(str, getattr(self, name)))}" for name in self.__slots__ if getattr(self, name)]
        return "; ".join(parts) or "nothing"


def remains(plan: Plan) -> Remains:
    spaces = our_spaces(plan)
    return Remains(
        our_containers(plan),
        spaces,
        sorted({*processes_in(spaces), *processes_below(plan)}),
        our_mounts(plan),
        [str(group) for group in our_cgroups(plan)],
        [str(plan.folder)] if plan.folder.exists() else [],
    )


def our_containers(plan: Plan) -> list[str]:
    listing = json.loads(run(["runc", "list", "-f", "json"]) or "null") or []
    return [entry["id"] for entry in listing if plan.mine(entry["id"])]


def our_spaces(plan: Plan) -> list[str]:
    return sorted(entry.name for entry in NETNS.iterdir() if plan.mine(entry.name)) if NETNS.exists() else []


def our_mounts(plan: Plan) -> list[str]:
    """Mount points below the bed's folder, the deepest first."""
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in points if point.startswith(f"{plan.folder}/")]
    return sorted(below, key=len, reverse=True)


def our_cgroups(plan: Plan) -> list[Path]:
    """The bed's group in every hierarchy of v1, and in v2."""
    places = [CGROUPS / plan.cgroup, *(entry / plan.cgroup for entry in CGROUPS.iterdir() if entry.is_dir() and not entry.is_symlink())]
    return [place for place in places if place.is_dir()]


def processes_in(spaces: list[str]) -> set[int]:
    """The processes whose network namespace is one of *spaces*."""
    inodes = set()
    for space in spaces:
        with contextlib.suppress(OSError):
            inodes.add((NETNS / space).stat().st_ino)
    return {pid for pid in all_processes() if _inode(Path(f"/proc/{pid}/ns/net")) in inodes}


def processes_below(plan: Plan) -> set[int]:
    """The processes of the bed's cgroups."""
    pids: set[int] = set()
    for top in our_cgroups(plan):
        for folder, _, _ in os.walk(top):
            with contextlib.suppress(OSError):
                pids.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
    return pids - {0}


def all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1


def end_processes(plan: Plan) -> None:
    """SIGKILL: an API server that ends in an orderly way takes seconds, and nothing of it is kept."""

    def none_left() -> bool:
        pids = processes_in(our_spaces(plan)) | processes_below(plan)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    with contextlib.suppress(TooLate):  # what is left is reported
        until(none_left, "end of the processes", PATIENCE)


def unmount_all(plan: Plan) -> None:
    for _ in range(3):  # a mount may lie on a mount
        for point in our_mounts(plan):
            succeeds(["umount", "-l", point])


def remove_cgroups(plan: Plan) -> None:
    def none_left() -> bool:
        for top in our_cgroups(plan):
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not our_cgroups(plan)

    with contextlib.suppress(TooLate):
        until(none_left, "removal of the cgroups", PATIENCE)


def down(plan: Plan) -> Remains:
    """Removes everything of the bed, and returns what is left: nothing, unless the kernel refuses."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: succeeds(["runc", "delete", "-f", name]), our_containers(plan)))
    end_processes(plan)
    for space in our_spaces(plan):
        succeeds(["ip", "netns", "del", space])
    unmount_all(plan)
    remove_cgroups(plan)
    if not our_mounts(plan):  # never remove through a mount
        remove_tree(plan.folder)
    return remains(plan)


def down_node(plan: Plan, node: str) -> None:
    """Destroys one node, its disk too. The control plane, which lives in node1's namespace, stays."""
    succeeds(["runc", "delete", "-f", plan.space(node)])
    folder = plan.folder / "nodes" / node
    for point in our_mounts(plan):
        if point.startswith(f"{folder}/"):
            succeeds(["umount", "-l", point])
    for top in our_cgroups(plan):
        for place, _, _ in os.walk(top / node, topdown=False):
            with contextlib.suppress(OSError):
                Path(place).rmdir()
    if node != "node1":
        succeeds(["ip", "netns", "del", plan.space(node)])
    remove_tree(folder)
