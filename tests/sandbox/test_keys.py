"""Cache keys: equal for equal content, different for any difference that matters."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ovnloom.sandbox.golang import Module, kubernetes_flags, modules
from ovnloom.sandbox.paths import key_of, key_of_files, point
from ovnloom.sandbox.roots import Root, package_list

PARTS = st.lists(st.text(max_size=4), max_size=4)


@given(PARTS, PARTS)
def test_keys_are_equal_when_the_parts_are(left: list[str], right: list[str]) -> None:
    assert (key_of(*left) == key_of(*right)) == (left == right)


def tree(folder: Path) -> Path:
    (folder / "a" / "__pycache__").mkdir(parents=True)
    (folder / "a" / "one.py").write_text("1")
    (folder / "a" / "two.sh").write_text("2")
    return folder


def test_the_key_of_files_follows_content_name_and_mode(tmp_path: Path) -> None:
    base = tree(tmp_path / "base")
    known = key_of_files([base / "a"], base)
    (base / "a" / "__pycache__" / "one.pyc").write_text("x")
    os.utime(base / "a" / "one.py", (1, 1))
    assert key_of_files([base / "a"], base) == known, "times and Python's caches do not count"
    seen = {known}
    for number, change in enumerate(
        [
            lambda top: (top / "one.py").write_text("3"),
            lambda top: (top / "one.py").rename(top / "uno.py"),
            lambda top: (top / "two.sh").chmod(0o755),
            lambda top: (top / "three").touch(),
            lambda top: (top / "two.sh").unlink(),
        ]
    ):
        other = tmp_path / str(number)
        shutil.copytree(base, other)
        change(other / "a")
        seen.add(key_of_files([other / "a"], other))
    assert len(seen) == 6


def test_a_clone_elsewhere_has_the_same_key(tmp_path: Path) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    assert key_of_files([one / "a"], one) == key_of_files([other / "a"], other)


def test_the_order_of_packages_does_not_matter() -> None:
    assert Root("x", ("a", "b")).key() == Root("x", ("b", "a")).key() != Root("x", ("a", "c")).key()


def test_a_package_list_has_comments() -> None:
    assert package_list("# list\nopenvswitch-switch\n\n  ovn-host  # the agent\n") == ("openvswitch-switch", "ovn-host")


def test_flags_and_packages_are_part_of_a_modules_key() -> None:
    one = next(module for module in modules() if module.name == "etcd")
    keys = {one.key(), Module("etcd", one.packages, flags="-s").key(), Module("etcd", {"etcd": "go.etcd.io/etcd"}).key()}
    assert len(keys) == 3


def test_programs_report_the_version_of_the_module() -> None:
    assert "gitVersion=v1.34.4" in kubernetes_flags("v1.34.4")
    assert "gitMajor=1" in kubernetes_flags("v1.34.4") and "gitMinor=34" in kubernetes_flags("v1.34.4")


def test_a_link_is_replaced_and_relative(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        point(tmp_path / "current", tmp_path / name)
        assert (tmp_path / "current").readlink() == Path(name)
