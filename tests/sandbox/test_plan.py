"""A bed on paper: names that cannot be mixed up, addresses of both stacks, what was saved comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnloom.sandbox.paths import Cache
from ovnloom.sandbox.plan import BadPlan, Options, load_plan, make_plan


def test_only_its_own_names_are_a_beds(tmp_path: Path) -> None:
    plan = make_plan(Cache(tmp_path), "loom", Options())
    assert all(plan.mine(name) for name in ("loom-lan", "loom-out", "loom-seed", "loom-node1", "loom-node17"))
    assert not any(plan.mine(name) for name in ("loom2-node1", "xloom-node1", "loom-node", "loom-node1x", "loom", "loom-other"))


@pytest.mark.parametrize("name", ["", "Loom", "a-b", "1a", "a" * 16, "a/b", "../x", "a b"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadPlan, match="name"):
        make_plan(Cache(tmp_path), name, Options())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (Options(nodes=0), "--nodes"),
        (Options(nodes=61), "--nodes"),
        (Options(masters=2), "--masters"),
        (Options(2, masters=3), "--masters"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: Options, word: str) -> None:
    with pytest.raises(BadPlan, match=word):
        make_plan(Cache(tmp_path), "loom", options)


def test_a_single_stack_names_no_ipv6_address(tmp_path: Path) -> None:
    single = make_plan(Cache(tmp_path), "loom", Options(stack="ipv4"))
    assert not any(":" in text for text in (single.services, single.pods, single.addresses("node3")))
    dual = make_plan(Cache(tmp_path), "loom", Options())
    assert dual.addresses("node3") == "172.31.0.3,fd00:172:31::3"


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    plan = make_plan(Cache(tmp_path), "loom", Options(nodes=5, stack="ipv4", proxy="iptables", masters=3))
    plan.folder.mkdir(parents=True)
    assert load_plan(plan.cache, "loom") is None
    plan.save({"code": "abc"})
    assert load_plan(plan.cache, "loom") == (plan, {"code": "abc"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"options": {"nodes": 3, "unknown": 1}, "facts": {}}', '{"options": 3, "facts": {}}'])
def test_a_damaged_record_is_no_bed(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "beds" / "loom"
    folder.mkdir(parents=True)
    (folder / "bed.json").write_text(text)
    assert load_plan(Cache(tmp_path), "loom") is None
