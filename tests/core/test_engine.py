"""The engine: isolation of plugins, order, drift, adoption, deletion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ovnloom.core.desired.model import Annotation, Contribution, Member, Row, RowKey
from ovnloom.core.errors import Invalid
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, Namespace
from ovnloom.core.kube.objects import Key, Kind, Object
from ovnloom.core.names import VENDOR
from ovnloom.core.ovn.batcher import Outcome, UnitResult
from ovnloom.core.ovn.ops import Delete, Insert, Update
from ovnloom.core.plugins import Plugin
from ovnloom.core.testing import World


class Switches(Plugin):
    """A switch for each Namespace."""

    name = "switches"
    prefix = ""
    fails: Exception | None = None

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [NAMESPACES]  # type: ignore[list-item]

    @hookimpl
    def desired_state(self, obj: Object) -> Iterable[Contribution]:
        if isinstance(obj, Namespace):
            yield Row("Logical_Switch", {"name": self.prefix + obj.metadata.name})
            yield Annotation(Key("namespaces", "", obj.metadata.name), f"{self.name}.example/done", "yes")
            if self.fails:
                raise self.fails


class Others(Switches):
    name, prefix = "others", "other-"


class Critical(Switches):
    name, prefix, critical = "critical", "critical-", True


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def made(*classes: type[Plugin]) -> tuple[World, list[Any]]:
    world = World(*classes)
    return world, list(world.plugins.plugins)


def test_a_failing_plugin_leaves_the_others_alone() -> None:
    world, [switches, _others] = made(Switches, Others)
    switches.fails = ZeroDivisionError("broken")
    world.apply(namespace("a"))
    assert set(world.rows("Logical_Switch")) == {"other-a"}
    [failure] = [f for f in world.failures if f.reason == "PluginFailed"]
    assert "plugin switches failed: ZeroDivisionError: broken" in failure.sentence
    assert failure.retry is not None


def test_a_failing_plugin_keeps_its_last_good_words() -> None:
    world, [switches, _] = made(Switches, Others)
    world.apply(namespace("a"))
    switches.fails = ZeroDivisionError("broken")
    world.apply(namespace("a", color="blue"))
    assert set(world.rows("Logical_Switch")) == {"a", "other-a"}
    again = World(*world.plugins.plugins)  # a restart while it fails deletes nothing either
    again.database = world.database
    again.caches["namespaces"].upsert(world.get(NAMESPACES, "a"))
    again.engine.load()
    again.settle()
    assert set(again.rows("Logical_Switch")) == {"a", "other-a"}


def test_without_a_critical_plugin_nothing_is_published() -> None:
    world, [_, critical] = made(Switches, Critical)
    critical.fails = ZeroDivisionError("broken")
    world.apply(namespace("a"))
    assert not world.get(NAMESPACES, "a").metadata.annotations
    critical.fails = None
    world.engine.retry(Key("namespaces", "", "a"))
    world.settle()
    assert set(world.get(NAMESPACES, "a").metadata.annotations) == {"switches.example/done", "critical.example/done"}


def test_retries_wait_longer_and_longer() -> None:
    world, [switches] = made(Switches)
    switches.fails = ZeroDivisionError("broken")
    world.apply(namespace("a"))
    for _ in range(3):
        world.engine.retry(Key("namespaces", "", "a"))
        world.settle()
    delays = [f.retry for f in world.failures]
    assert delays == [0.2, 0.4, 0.8, 1.6]


def test_invalid_is_for_the_author_and_is_not_retried() -> None:
    world, [switches] = made(Switches)
    switches.fails = Invalid("metadata.labels: too blue", reason="TooBlue")
    world.apply(namespace("a"))
    [failure] = world.failures
    assert (failure.reason, failure.sentence, failure.retry) == ("TooBlue", "metadata.labels: too blue", None)


def test_two_owners_of_a_row_the_older_stays() -> None:
    class Rival(Switches):
        name = "rival"

        @hookimpl
        def desired_state(self, obj: Object) -> Iterable[Contribution]:
            if isinstance(obj, Namespace):
                yield Row("Logical_Switch", {"name": obj.metadata.name, "other_config": {"mcast_snoop": "true"}})

    world, _ = made(Switches, Rival)
    world.apply(namespace("a"))
    [row] = world.rows("Logical_Switch").values()
    assert row["other_config"] == {}
    assert row["external_ids"]["ovnloom"].startswith("switches/")
    [failure] = world.failures
    assert "Logical_Switch/a" in failure.sentence and "switches" in failure.sentence and "rival" in failure.sentence


def test_drift_is_repaired_and_foreign_rows_are_left_alone() -> None:
    world, _ = made(Switches)
    world.apply(namespace("a"))
    replica = world.database.replica
    replica.listen(lambda table, uuid, old, new: (key := (new or old).key) and world.engine.observe(key))  # type: ignore[union-attr,func-returns-value]
    uuid = replica.by_key(RowKey("Logical_Switch", "a"))
    assert uuid
    world.database.commit([Update("Logical_Switch", uuid, {"external_ids": {"vendor": VENDOR}, "other_config": {"x": "y"}})])
    world.database.commit([Insert("Logical_Switch", "00000000-0000-0000-0000-00000000000f", {"name": "foreign"})])
    world.settle()
    assert world.rows("Logical_Switch")["a"]["other_config"] == {}
    assert "ovnloom" in world.rows("Logical_Switch")["a"]["external_ids"]
    world.database.commit([Delete("Logical_Switch", uuid)])
    world.settle()
    assert set(world.rows("Logical_Switch")) == {"a", "foreign"}
    world.delete(NAMESPACES, "a")
    assert set(world.rows("Logical_Switch")) == {"foreign"}


def test_what_kube_ovn_left_is_adopted_in_place() -> None:
    world, _ = made(Switches)
    uuid = "00000000-0000-0000-0000-00000000000a"
    world.database.commit([Insert("Logical_Switch", uuid, {"name": "a", "external_ids": {"vendor": VENDOR}})])
    world.apply(namespace("a"))
    [row] = world.rows("Logical_Switch").values()
    assert row.uuid == uuid
    assert row["external_ids"]["ovnloom"].startswith("switches/")


def test_a_foreign_row_of_the_same_name_is_not_taken() -> None:
    world, _ = made(Switches)
    world.database.commit([Insert("Logical_Switch", "00000000-0000-0000-0000-00000000000a", {"name": "a"})])
    world.apply(namespace("a"))
    [failure] = world.failures
    assert failure.reason == "ForeignRow" and "belongs to somebody else" in failure.sentence
    assert world.rows("Logical_Switch")["a"]["external_ids"] == {}


def test_nothing_is_deleted_before_the_first_full_pass() -> None:
    world, _ = made(Switches)
    names = [f"n{i}" for i in range(40)]
    for name in names:
        world.put(namespace(name))
    world.settle()
    again = World(*world.plugins.plugins)
    again.database = world.database
    for obj in world.caches["namespaces"].all()[1:]:
        again.caches["namespaces"].upsert(obj)
    again.engine.load()
    while not again.engine.swept:
        batch = again.engine.step(again.database.replica, limit=3)
        assert batch.units == [] or again.engine.swept
        again.engine.done(batch, again.commit(batch.units))
    assert len(again.rows("Logical_Switch")) == 39


def test_rows_of_a_disabled_plugin_go() -> None:
    world, [switches, _] = made(Switches, Others)
    world.apply(namespace("a"))
    again = World(switches)
    again.database = world.database
    again.caches["namespaces"].upsert(world.get(NAMESPACES, "a"))
    again.engine.load()
    again.settle()
    assert set(again.rows("Logical_Switch")) == {"a"}


def test_members_wait_for_what_they_refer_to() -> None:
    class Groups(Switches):
        name = "groups"

        @hookimpl
        def desired_state(self, obj: Object) -> Iterable[Contribution]:
            if isinstance(obj, Namespace) and obj.metadata.labels.get("group"):
                yield Row("Port_Group", {"name": "g"})
            elif isinstance(obj, Namespace):
                yield Annotation(Key("namespaces", "", obj.metadata.name), "groups.example/done", "yes")
                yield Member(RowKey("Load_Balancer_Group", "lbs"), "load_balancer", RowKey("Load_Balancer", obj.metadata.name))

    world, _ = made(Groups)
    world.apply(namespace("a"))
    # the group it wants to be a member of does not exist: nothing is committed, so nothing is published
    assert world.database.transactions == 0
    assert not world.get(NAMESPACES, "a").metadata.annotations


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.AGAIN])
def test_what_is_not_committed_is_not_published(outcome: Outcome) -> None:
    world, _ = made(Switches, Others)
    answers = iter([outcome])
    commit = world.commit

    def once(units: Any) -> list[UnitResult]:
        if (answer := next(answers, None)) is None:
            return commit(units)
        return [UnitResult(unit, answer, "because") for unit in units]

    world.commit = once  # type: ignore[method-assign]  # the server's answer, at the seam where the world has it
    world.put(namespace("a"))
    world.step()
    assert not world.get(NAMESPACES, "a").metadata.annotations
    if outcome is Outcome.REJECTED:
        assert "because" in world.failures[0].sentence
        world.engine.retry(Key("namespaces", "", "a"))
    world.settle()
    assert set(world.rows("Logical_Switch")) == {"a", "other-a"}
    assert world.get(NAMESPACES, "a").metadata.annotations
