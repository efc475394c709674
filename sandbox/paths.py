"""Where things lie: the checkout, and the cache outside it."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HERE = CHECKOUT / "sandbox"


@dataclass(frozen=True, slots=True)
class Cache:
    """The folders of the cache. Everything in it may be deleted when no bed runs; `loom build` makes it again."""

    top: Path

    @property
    def bin(self) -> Path:
        """The Go programs: `bin/<key>/`, and `bin/current`, a link to the ones in use."""
        return self.top / "bin"

    @property
    def roots(self) -> Path:
        """Debian root folders: `roots/<name>-<key>/`, and `roots/<name>`, a link to the one in use."""
        return self.top / "roots"

    @property
    def images(self) -> Path:
        return self.top / "images"

    @property
    def store(self) -> Path:
        """containerd folders with all images unpacked, shared by the nodes: `store/<key>/`."""
        return self.top / "store"

    @property
    def beds(self) -> Path:
        return self.top / "beds"

    @property
    def logs(self) -> Path:
        return self.top / "logs"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One process at a time; the others wait. The lock ends with the process that holds it."""
        folder = self.top / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another loom that works on {name}", flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def default_cache() -> Cache:
    """`$OVNLOOM_CACHE`, or `~/.cache/ovnloom`."""
    return Cache(Path(os.environ.get("OVNLOOM_CACHE") or Path.home() / ".cache" / "ovnloom"))


def key_of(*parts: str | bytes) -> str:
    """Twelve hex digits that change when any part, or the order of the parts, changes."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()[:12]


def key_of_files(paths: Iterable[Path], base: Path = CHECKOUT) -> str:
    """The key of the names, modes and contents of *paths*; a folder stands for all files below it, caches of Python left out."""
    parts: list[str | bytes] = []
    for path in sorted(_files(paths)):
        parts += [f"{path.relative_to(base)} {path.stat().st_mode:o}", path.read_bytes()]
    return key_of(*parts)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        elif path.exists():
            yield path


def point(link: Path, target: Path) -> None:
    """Makes *link* a relative symbolic link to *target*, atomically."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)
