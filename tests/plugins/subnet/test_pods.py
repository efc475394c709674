"""Pods and the Subnets they belong to."""

from __future__ import annotations

import pytest
import yaml

from ovnloom.core.kube.kinds import IPS, PODS, STATEFULSETS, SUBNETS
from ovnloom.core.testing import World, pod

SUBNET = """
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: blue}
spec: {cidrBlock: 10.20.0.0/24, namespaces: [team]}
"""
SMALL = """
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: small}
spec: {cidrBlock: 10.21.0.0/30, namespaces: [tight]}
"""
STATEFULSET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: team}
spec: {replicas: 2}
"""
OWNED = {"ownerReferences": [{"kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}]}


def address(world: World, name: str, namespace: str = "team") -> str | None:
    found = world.get(PODS, name, namespace)
    return found.metadata.annotations.get("ovn.kubernetes.io/ip_address") if found else None


def test_a_pod_seen_before_its_subnet_waits_for_a_fresh_cache(world: World) -> None:
    world.put(pod("early", "team"))  # a version newer than anything the Subnet cache knows
    batch = world.engine.step(world.database.replica)
    assert batch.refresh == {"subnets.kubeovn.io"}
    world.engine.done(batch, world.commit(batch.units))
    assert address(world, "early") is None
    world.put(yaml.safe_load(SUBNET))
    world.engine.refreshed("subnets.kubeovn.io")
    world.settle()
    assert address(world, "early") == "10.20.0.2"


def test_a_full_subnet_says_so_and_serves_when_an_address_is_free(world: World) -> None:
    world.apply(SMALL, pod("a", "tight"), pod("b", "tight"))
    assert address(world, "a", "tight") == "10.21.0.2"
    assert address(world, "b", "tight") is None
    [failure] = {f for f in world.failures if f.key.name == "b"}
    assert "small" in failure.sentence
    world.apply(pod("other"))
    assert address(world, "other", "default") is not None
    world.delete(PODS, "a", "tight")
    assert address(world, "b", "tight") == "10.21.0.2"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"ip_address": "10.99.0.1"}, ["annotation ovn.kubernetes.io/ip_address: 10.99.0.1", "blue"]),
        ({"ip_address": "10.20.0.1"}, ["10.20.0.1"]),
        ({"ip_address": "10.20.0.2"}, ["10.20.0.2", "held by", "holder"]),
        ({"ip_address": "no address"}, ["'no address'", "not an address"]),
        ({"ip_address": '10.20.0.9" || ip4.src == 0.0.0.0/0'}, ["not an address"]),
        ({"ip_address": "x" * 10_000}, ["not an address", "…"]),
        ({"ip_address": "10.20.0.9\n10.20.0.10"}, ["not an address"]),
        ({"ip_address": "10.20.0.9,10.20.0.10"}, ["one family"]),
        ({"mac_address": "0a:00:00:00:00:0g"}, ["not a MAC"]),
        ({"logical_switch": "nowhere"}, ["no Subnet 'nowhere'"]),
        ({"logical_switch": 'x" || 1 == 1'}, ["no Subnet"]),
    ],
)
def test_hostile_or_wrong_annotations(world: World, annotation: dict[str, str], words: list[str]) -> None:
    world.apply(SUBNET, pod("holder", "team", annotations={"ovn.kubernetes.io/ip_address": "10.20.0.2"}))
    rows = set(world.rows("Logical_Switch_Port"))
    world.apply(pod("bad", "team", annotations={f"ovn.kubernetes.io/{k}": v for k, v in annotation.items()}))
    failures = [f for f in world.failures if f.key.name == "bad"]
    assert failures and len(failures[-1].sentence) < 400
    for word in words:
        assert word in failures[-1].sentence
    assert set(world.rows("Logical_Switch_Port")) == rows
    assert world.get(PODS, "bad", "team").metadata.annotations.get("ovn.kubernetes.io/allocated") is None
    world.apply(pod("good", "team"))
    assert address(world, "good")


def test_an_author_who_pretends_to_have_an_address_gets_no_more_than_who_asks(world: World) -> None:
    pretended = {"allocated": "true", "ip_address": "10.20.0.1", "logical_switch": "blue", "mac_address": "0a:00:00:00:00:01"}
    world.apply(SUBNET, pod("liar", "team", annotations={f"ovn.kubernetes.io/{k}": v for k, v in pretended.items()}))
    assert "liar.team" not in world.rows("Logical_Switch_Port")
    assert [f for f in world.failures if f.key.name == "liar"]


def test_after_a_restart_an_author_who_pretends_does_not_come_before_the_holder(world: World) -> None:
    world.apply(SUBNET, pod("holder", "team"))
    held = address(world, "holder")
    assert held
    pretended = {"allocated": "true", "ip_address": held, "logical_switch": "blue"}
    again = World(*world.plugins.plugins)
    again._versions, again.database = world._versions, world.database
    for name in ("other-liar", "liar"):  # both are seen before the holder
        again.put(pod(name, "team", annotations={f"ovn.kubernetes.io/{k}": v for k, v in pretended.items()}))
    for name, cache in world.caches.items():
        for obj in cache.all():
            again.caches[name].upsert(obj)
    again.engine.load()
    again.settle()
    lease = again.engine.ipam.lease("holder.team")
    assert lease and lease.v4 == held
    assert again.engine.ipam.lease("liar.team") is None
    assert "liar.team" not in again.rows("Logical_Switch_Port")
    assert [f for f in again.failures if f.key.name == "liar"] and not [f for f in again.failures if f.key.name == "holder"]


def test_a_pod_made_again_under_its_name_gets_a_new_address(world: World) -> None:
    world.apply(SUBNET, pod("p", "team"))
    first = address(world, "p")
    world.delete(PODS, "p", "team")
    world.apply(pod("p", "team"))
    assert address(world, "p") not in (None, first)


def test_a_statefulset_pod_keeps_its_address(world: World) -> None:
    world.apply(SUBNET, STATEFULSET, pod("web-0", "team", **OWNED), pod("web-1", "team", **OWNED))
    first, mac = address(world, "web-0"), world.get(IPS, "web-0.team").spec.mac_address
    world.delete(PODS, "web-0", "team")
    assert world.get(IPS, "web-0.team") and "web-0.team" in world.rows("Logical_Switch_Port")
    again = world.restarted()
    again.apply(pod("other", "team"), pod("web-0", "team", **OWNED))
    assert address(again, "other") not in (None, first)
    assert address(again, "web-0") == first
    assert again.get(IPS, "web-0.team").spec.mac_address == mac


@pytest.mark.parametrize("namespace", ["team", "unbound"])
def test_a_statefulset_pod_keeps_its_address_until_the_next_one_is_served(world: World, namespace: str) -> None:
    """It is made before the scheduler has placed it, and waits for a fresh cache when no Subnet is bound to its namespace."""
    statefulset = yaml.safe_load(STATEFULSET) | {"metadata": {"name": "web", "namespace": namespace}}
    placed = pod("web-0", namespace, **OWNED)
    world.apply(SUBNET, statefulset, placed)
    first = address(world, "web-0", namespace)
    world.delete(PODS, "web-0", namespace)
    world.apply({**placed, "spec": {}}, pod("rival", namespace))
    assert world.get(IPS, f"web-0.{namespace}")
    world.apply(placed)
    assert address(world, "web-0", namespace) == first != address(world, "rival", namespace)


def test_a_scaled_down_statefulset_gives_addresses_back(world: World) -> None:
    world.apply(SUBNET, STATEFULSET, pod("web-0", "team", **OWNED), pod("web-1", "team", **OWNED))
    world.delete(PODS, "web-1", "team")
    assert world.get(IPS, "web-1.team")
    world.apply(STATEFULSET.replace("replicas: 2", "replicas: 1"))
    assert world.get(IPS, "web-1.team") is None
    assert "web-1.team" not in world.rows("Logical_Switch_Port")
    world.delete(PODS, "web-0", "team")
    world.delete(STATEFULSETS, "web", "team")
    assert world.get(IPS, "web-0.team") is None


def test_a_deleted_ip_object_of_a_living_pod_is_written_again(world: World) -> None:
    world.apply(SUBNET, pod("p", "team"))
    world.delete(IPS, "p.team")
    assert world.get(IPS, "p.team").spec.v4_ip_address == address(world, "p")


def test_a_finished_pod_gives_its_address_back(world: World) -> None:
    world.apply(SUBNET, pod("job", "team"))
    world.apply({**pod("job", "team"), "spec": {"nodeName": "n1", "restartPolicy": "Never"}, "status": {"phase": "Succeeded"}})
    assert world.get(IPS, "job.team") is None
    assert "job.team" not in world.rows("Logical_Switch_Port")


def test_a_subnet_in_use_stays_until_its_last_pod_is_gone(world: World) -> None:
    world.apply(SUBNET, pod("p", "team"))
    world.delete(SUBNETS, "blue")
    assert world.get(SUBNETS, "blue") and "blue" in world.rows("Logical_Switch")
    world.delete(PODS, "p", "team")
    assert world.get(SUBNETS, "blue") is None
    assert "blue" not in world.rows("Logical_Switch")
    assert "ovn-cluster-blue" not in world.rows("Logical_Router_Port")
