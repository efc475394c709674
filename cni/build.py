"""Builds the CNI plugin of ``shim.c`` for the machines Kubernetes nodes are: static, with the compiler of PyPI's ``ziglang``.

``python -m ovnloom.cni.build OUT_DIR`` writes ``OUT_DIR/kube-ovn-amd64`` and ``OUT_DIR/kube-ovn-arm64``. Equal sources and
an equal compiler give equal bytes. What was built once is taken from ``${OVNLOOM_CACHE:-~/.cache/ovnloom}/cni/``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCE = Path(__file__).parent / "shim.c"
TARGETS = {"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl"}  # by the names container images use
FLAGS = ("-static", "-Os", "-s", "-std=c11", "-Wall", "-Wextra", "-Werror")


class BuildError(Exception):
    """The plugin cannot be built; the sentence says why."""


def cache_folder() -> Path:
    return Path(os.environ.get("OVNLOOM_CACHE") or Path.home() / ".cache/ovnloom")


def binary(arch: str, *defines: str) -> Path:
    """The path of the plugin for *arch* (``amd64`` or ``arm64``), built if the cache lacks it.

    *defines* are macros of the source (``NAME=VALUE``). Raises BuildError.
    """
    if arch not in TARGETS:
        raise BuildError(f"no architecture {arch!r}: the plugin is built for {' and '.join(TARGETS)}")
    try:
        compiler = version("ziglang")
    except PackageNotFoundError:
        raise BuildError("the compiler is missing: pip install ziglang") from None
    flags = [*FLAGS, *(f"-D{define}" for define in defines)]
    key = hashlib.sha256("\0".join([compiler, TARGETS[arch], *flags]).encode() + SOURCE.read_bytes()).hexdigest()[:20]
    target = cache_folder() / "cni" / key / f"kube-ovn-{arch}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            output = Path(scratch) / target.name
            _compile(TARGETS[arch], flags, output)
            output.replace(target)  # another build may do the same at the same time
    return target


def _compile(target: str, flags: list[str], output: Path) -> None:
    zig = str(cache_folder() / "zig")
    result = subprocess.run(
        [sys.executable, "-m", "ziglang", "cc", "-target", target, *flags, SOURCE.name, "-o", str(output)],
        cwd=SOURCE.parent,  # no path of this machine may come into the binary
        env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BuildError(f"{SOURCE.name} does not compile for {target}:\n{result.stderr}")


def build(out: Path) -> dict[str, Path]:
    """Writes ``kube-ovn-<arch>`` for every architecture into *out*; the paths by architecture. Raises BuildError."""
    out.mkdir(parents=True, exist_ok=True)
    return {arch: Path(shutil.copy(binary(arch), out / f"kube-ovn-{arch}")) for arch in TARGETS}


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the CNI plugin kube-ovn for amd64 and arm64.")
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="where kube-ovn-amd64 and kube-ovn-arm64 go")
    try:
        for path in build(parser.parse_args().out).values():
            print(path)
    except (BuildError, OSError) as error:
        sys.exit(f"cni: {error}")


if __name__ == "__main__":
    main()
