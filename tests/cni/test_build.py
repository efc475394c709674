"""What the build makes: static binaries for both machines, the same bytes from the same source."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from ovnloom.cni import build

pytest.importorskip("ziglang")
MACHINES = {"amd64": 62, "arm64": 183}  # EM_X86_64, EM_AARCH64
PT_DYNAMIC, PT_INTERP = 2, 3


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without plugins, but with the compiler's own (the C library takes it most of a minute)."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (build.cache_folder() / "zig").mkdir(parents=True, exist_ok=True)
    (folder / "zig").symlink_to(build.cache_folder() / "zig")
    monkeypatch.setenv("OVNLOOM_CACHE", str(folder))
    return folder


@pytest.mark.parametrize("arch", build.TARGETS)
def test_a_static_binary_of_the_machine(arch: str) -> None:
    data = build.binary(arch).read_bytes()
    assert data[:7] == b"\x7fELF\x02\x01\x01"
    kind, machine = struct.unpack_from("<HH", data, 16)
    assert (kind, machine) == (2, MACHINES[arch])  # ET_EXEC
    offset, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    segments = {struct.unpack_from("<I", data, offset + size * i)[0] for i in range(count)}
    assert not segments & {PT_DYNAMIC, PT_INTERP}
    assert len(data) < 100_000


def test_equal_source_gives_equal_bytes_wherever_it_lies(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {arch: path.read_bytes() for arch, path in build.build(tmp_path / "here").items()}
    shutil.rmtree(cache / "cni")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(build, "SOURCE", Path(shutil.copy(build.SOURCE, tmp_path / "elsewhere")))
    assert {arch: path.read_bytes() for arch, path in build.build(tmp_path / "there").items()} == here
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"kube-ovn-amd64", "kube-ovn-arm64"}
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in (tmp_path / "there").iterdir())


def test_what_was_built_comes_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.binary("amd64")
    monkeypatch.setattr(build, "_compile", None)
    assert build.binary("amd64") == first
    assert first.is_relative_to(cache / "cni")


def test_a_source_that_does_not_compile_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "shim.c"
    broken.write_text("int main(void) { return x; }\n")
    monkeypatch.setattr(build, "SOURCE", broken)
    with pytest.raises(build.BuildError, match=r"shim\.c does not compile for x86_64-linux-musl:\n.*undeclared"):
        build.binary("amd64")
    assert [path for path in (cache / "cni").rglob("*") if path.is_file()] == []


def test_an_unknown_architecture() -> None:
    with pytest.raises(build.BuildError, match="no architecture 'riscv64': the plugin is built for amd64 and arm64"):
        build.binary("riscv64")
