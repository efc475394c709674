"""What a change costs: rows that are not concerned are not written, objects that are not concerned are not looked at."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.kube.kinds import PODS
from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Update
from ovnloom.core.sets import Sets
from ovnloom.core.testing import World, pod
from tests.plugins.acl.words import acls, admin_policy, namespace, network_policy, watched

FRONT = {"podSelector": {"matchLabels": {"app": "front"}}}


def front(name: str) -> dict[str, object]:
    return pod(name, labels={"app": "front"}, annotations={"ovn.kubernetes.io/ip_address": "10.16.0.77"})


def outlines(ops: list[Op]) -> list[tuple[str, str]]:
    return sorted((type(op).__name__, op.table) for op in ops)


@pytest.mark.parametrize(
    "policy",
    [
        network_policy(podSelector={"matchLabels": {"app": "web"}}, ingress=[{"from": [FRONT]}]),
        admin_policy(
            subject={"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}},
            ingress=[{"action": "Allow", "from": [{"pods": {"namespaceSelector": {}, **FRONT}}]}],
        ),
    ],
    ids=["NetworkPolicy", "AdminNetworkPolicy"],
)
def test_a_peer_that_joins_changes_one_address_set(world: World, policy: dict[str, Any]) -> None:
    world.apply(pod("w", labels={"app": "web"}), policy)
    rendered = rendering(world)
    with watched(world) as transactions:
        world.apply(front("f"))
    [ops] = [ops for ops in transactions if ops]
    about_policies = [op for op in ops if op.table in ("ACL", "Address_Set", "Port_Group") and not of_node(world, op)]
    assert outlines(about_policies) == [("Mutate", "Address_Set")]
    assert about_policies[0].insert == ("10.16.0.77",)  # type: ignore[union-attr]
    assert not [key for key in rendered if "polic" in key.kind]
    with watched(world) as transactions:
        world.delete(PODS, "f", "default")
    gone = [op for ops in transactions for op in ops if op.table in ("ACL", "Address_Set")]
    assert outlines(gone) == [("Mutate", "Address_Set")]


def of_node(world: World, op: Op) -> bool:
    key = world.database.replica.key_of(op.table, op.uuid)
    return bool(key and key.key.startswith(("node.", "gateway.")))


def rendering(world: World) -> list[Key]:
    """Everything that is rendered from now on."""
    found: list[Key] = []
    render = world.engine._render

    def noted(key: Key, batch: Any) -> None:
        found.append(key)
        render(key, batch)

    world.engine._render = noted  # type: ignore[method-assign]  # an observer in between
    return found


def test_two_families_are_two_sets(world: World) -> None:
    world.apply(
        {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "dual"}, "spec": {"cidrBlock": "10.31.0.0/24,fd31::/64"}}
    )
    world.apply(network_policy(ingress=[{"from": [FRONT]}]))
    with watched(world) as transactions:
        world.apply(pod("f", labels={"app": "front"}, annotations={"ovn.kubernetes.io/logical_switch": "dual"}))
    assert outlines([op for ops in transactions for op in ops if op.table == "Address_Set"]) == [("Mutate", "Address_Set")] * 2


def test_a_change_of_a_policy_writes_its_own_rows_in_one_transaction(world: World) -> None:
    """Make before break: what is new and what goes is one unit, and nothing that stays is touched."""
    world.apply(pod("w"), network_policy("other", ingress=[{"from": [FRONT]}]))
    ports = [{"port": 80}]
    world.apply(network_policy(ingress=[{"from": [FRONT], "ports": ports}, {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]))
    before = acls(world, "web.default")
    step, units = world.engine.step, []

    def noted(*arguments: Any) -> Any:
        batch = step(*arguments)
        units.extend(batch.units)
        return batch

    world.engine.step = noted  # type: ignore[method-assign]  # an observer in between
    with watched(world) as transactions:
        world.apply(network_policy(ingress=[{"from": [FRONT], "ports": [{"port": 81}]}, {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]))
    [ops] = transactions
    assert [unit.key.name for unit in units] == ["web"]
    assert sorted(map(str, units[0].ops)) == sorted(map(str, ops))
    # both families of the rule: a row comes, a row goes
    assert [type(op) for op in ops].count(Insert) == 2
    assert not [op for op in ops if isinstance(op, Update | Delete)]
    assert {op.table for op in ops if isinstance(op, Mutate)} == {"Port_Group"}
    assert sum(len(list(op.delete)) for op in ops if isinstance(op, Mutate)) == 2
    assert len(acls(world, "web.default") & before) == len(before) - 2


def test_foreign_policies_cost_a_pod_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[object] = []
    number = Sets._number
    monkeypatch.setattr(Sets, "_number", lambda self, one, *rest: (met.append(one), number(self, one, *rest))[1])

    def cost(name: str) -> tuple[list[tuple[str, str]], int]:
        met.clear()
        with watched(world) as transactions:
            world.apply(pod(name, "mine", labels={"app": "a", "tier": "b"}))
        return outlines([op for ops in transactions for op in ops]), len(met)

    world.apply(namespace("mine"))
    without = cost("first")
    for n in range(500):
        selects = {"podSelector": {"matchLabels": {"app": f"x{n}"}}}
        elsewhere = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"ns{n}"}}}
        world.put(network_policy(f"p{n}", f"ns{n}", **selects, ingress=[{"from": [elsewhere, selects]}]))
    world.settle()
    world.database.commit([])
    assert cost("second") == without
