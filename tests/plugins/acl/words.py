"""Short ways to say common objects, and to ask what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ovnloom.core.ovn.ops import Op
from ovnloom.core.testing import World


def node(name: str, *addresses: str, **labels: str) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}}


def network_policy(name: str = "web", namespace: str = "default", annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": {"podSelector": {}, **spec}}


def admin_policy(name: str = "strict", annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "annotations": annotations or {}}
    spec = {"priority": 5, "subject": {"namespaces": {}}, **spec}
    return {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": meta, "spec": spec}


def cluster_policy(name: str = "strict", **spec: Any) -> dict[str, Any]:
    spec = {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}, **spec}
    return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def security_group(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kubeovn.io/v1", "kind": "SecurityGroup", "metadata": {"name": name}, "spec": spec}


def subnet(name: str = "blue", **spec: Any) -> dict[str, Any]:
    spec = {"cidrBlock": "10.30.0.0/24", **spec}
    return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def acls(world: World, parent: str) -> set[tuple[str, int, int, str, str]]:
    """(direction, tier, priority, match, action) of the ACLs of *parent*, a port group or switch."""
    return {
        (str(row["direction"]), int(row["tier"]), int(row["priority"]), str(row["match"]), str(row["action"]))  # type: ignore[arg-type]
        for row in world.rows("ACL").values()
        if row["external_ids"]["parent"] == parent  # type: ignore[call-overload, index]
    }


def said(world: World) -> str:
    """All sentences that authors heard."""
    return "\n".join(failure.sentence for failure in world.failures)


def addresses(world: World, name: str) -> set[str]:
    return set(world.rows("Address_Set")[name]["addresses"])  # type: ignore[arg-type]


def ports(world: World, group: str) -> set[str]:
    names = {row.uuid: name for name, row in world.rows("Logical_Switch_Port").items()}
    return {names[uuid] for uuid in world.rows("Port_Group")[group]["ports"]}  # type: ignore[union-attr]


@contextmanager
def watched(world: World) -> Iterator[list[list[Op]]]:
    """The operations of each transaction while it lasts."""
    transactions: list[list[Op]] = []
    commit = world.database.commit

    def committed(ops: Iterable[Op]) -> None:
        transactions.append(list(ops))
        commit(transactions[-1])

    world.database.commit = committed  # type: ignore[method-assign]  # an observer in between, the database is the same
    yield transactions
    world.database.commit = commit  # type: ignore[method-assign]
