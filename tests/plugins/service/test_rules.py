"""SwitchLBRules: an address of one's own, and the health of those who answer it."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.kube.kinds import IPS, PODS
from ovnloom.core.testing import World, pod
from ovnloom.plugins.service.model import SERVICES, SWITCH_LB_RULES
from tests.plugins.service.words import endpoint, members, piece, service, vips

LB = "switch-lb-rule:front:tcp"


def rule(**spec: Any) -> dict[str, Any]:
    whole = {
        "vip": "10.0.0.5",
        "namespace": "shop",
        "selector": ["app:web"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        **spec,
    }
    return {"apiVersion": "kubeovn.io/v1", "kind": "SwitchLBRule", "metadata": {"name": "front"}, "spec": whole}


def answering(world: World, *, of: str = "slr-front") -> tuple[str, dict[str, Any]]:
    """A pod and the slice that Kubernetes makes of it for a headless Service."""
    world.apply(pod("p", "shop"))
    address: str = world.get(PODS, "p", "shop").metadata.annotations["ovn.kubernetes.io/ip_address"]
    numbers = [{"name": "http", "protocol": "TCP", "port": 8080}]
    found = piece(endpoint(address, "p"), of=of, namespace="shop", ports=numbers)
    found["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    return address, found


def test_a_headless_service_finds_the_pods(world: World) -> None:
    world.apply(rule(sessionAffinity="ClientIP"))
    made = world.get(SERVICES, "slr-front", "shop")
    assert made.spec.selector == {"app": "web"}
    assert (made.spec.cluster_ip, made.spec.ports[0].target_port) == ("None", 8080)
    assert made.metadata.annotations["ovn.kubernetes.io/switch_lb_vip"] == "10.0.0.5"
    assert made.metadata.owner_references[0].name == "front"
    assert vips(world, LB) == {"10.0.0.5:80": ""}
    address, slice_ = answering(world)
    world.apply(slice_)
    assert vips(world, LB) == {"10.0.0.5:80": f"{address}:8080"}
    assert world.rows("Load_Balancer")[LB]["options"]["affinity_timeout"] == "10800"
    assert members(world) == {LB}
    status = world.get(SWITCH_LB_RULES, "front").status
    assert b'"ports":"80/TCP"' in bytes(status)
    assert b'"service":"shop/slr-front"' in bytes(status)


def test_health_is_asked_from_an_address_that_is_reserved(world: World) -> None:
    address, slice_ = answering(world)
    world.apply(rule(), slice_)
    row = world.rows("Load_Balancer")[LB]
    port, _, asking = row["ip_port_mappings"][address].partition(":")
    assert port == "p.shop"
    [page] = [ip for ip in world.caches[f"{IPS.plural}.kubeovn.io"].all() if ip.metadata.name.startswith("slr-")]
    assert page.spec.v4_ip_address == asking  # type: ignore[attr-defined]  # an IP object
    assert asking not in ("", address)
    [check] = world.rows("Load_Balancer_Health_Check").values()
    assert check["vip"] == "10.0.0.5:80"
    assert check["options"] == {"timeout": "20", "interval": "5", "success_count": "3", "failure_count": "3"}
    world.apply(pod("new", "shop"))
    assert world.get(PODS, "new", "shop").metadata.annotations["ovn.kubernetes.io/ip_address"] != asking
    # the address stays the same over a restart, and nothing is written
    writes = world.database.transactions
    other = world.restarted()
    assert other.rows("Load_Balancer")[LB]["ip_port_mappings"] == row["ip_port_mappings"]
    assert (other.database.transactions, other.writes) == (writes, [])


def test_health_checks_can_be_turned_off_and_everything_goes(world: World) -> None:
    _, slice_ = answering(world)
    world.apply(rule(), slice_)
    quiet = rule()
    quiet["metadata"]["annotations"] = {"ovn.kubernetes.io/service_health_check": "false"}
    world.apply(quiet)
    assert not world.rows("Load_Balancer_Health_Check")
    assert not world.rows("Load_Balancer")[LB]["ip_port_mappings"]
    assert not [ip for ip in world.caches["ips.kubeovn.io"].all() if ip.metadata.name.startswith("slr-")]
    world.delete(SWITCH_LB_RULES, "front")
    assert not world.rows("Load_Balancer")
    assert world.get(SERVICES, "slr-front", "shop") is None


def test_listed_addresses_and_both_families(world: World) -> None:
    world.apply(rule(vip="10.0.0.5,fd00::5", endpoints=["10.16.0.9", "fd00::9", "10.16.0.8"]))
    assert vips(world, LB) == {"10.0.0.5:80": "10.16.0.8:8080,10.16.0.9:8080", "[fd00::5]:80": "[fd00::9]:8080"}
    assert world.get(SERVICES, "slr-front", "shop").spec.selector == {}


def test_it_moves_to_another_namespace(world: World) -> None:
    world.apply(rule())
    world.apply(rule(namespace="other"))
    assert world.get(SERVICES, "slr-front", "shop") is None
    assert world.get(SERVICES, "slr-front", "other") is not None


def test_an_annotation_of_a_service_gives_no_address(world: World) -> None:
    """In Kube-OVN any author of a Service can claim any address so."""
    claiming = service(clusterIP="None")
    claiming["metadata"]["annotations"] = {"ovn.kubernetes.io/switch_lb_vip": "10.16.0.1"}
    world.apply(claiming, piece(endpoint("10.16.0.9")))
    assert not world.rows("Load_Balancer")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"vip": "10.0.0.5,10.0.0.6"}, "spec.vip"),
        ({"vip": ""}, "spec.vip"),
        ({"vip": "10.0.0.5 || ip4"}, "spec.vip"),
        ({"namespace": "A b"}, "spec.namespace"),
        ({"selector": ["app=web"]}, "spec.selector: 'app=web' is not a label"),
        ({"selector": []}, "who answers"),
        ({"endpoints": ["x"]}, "spec.endpoints"),
        ({"ports": []}, "spec.ports: is empty"),
        ({"ports": [{"port": 0, "targetPort": 80, "protocol": "TCP"}]}, "spec.ports[0].port: 0"),
        ({"ports": [{"port": 80, "targetPort": 70000, "protocol": "TCP"}]}, "spec.ports[0].targetPort: 70000"),
        ({"ports": [{"port": 80, "targetPort": 80, "protocol": "tcp"}]}, "spec.ports[0].protocol: 'tcp'"),
        ({"ports": [{"port": 80, "targetPort": 80}, {"port": 80, "targetPort": 81}]}, "is there twice"),
        ({"sessionAffinity": "Always"}, "spec.sessionAffinity"),
    ],
)
def test_faults_are_said_and_the_last_good_state_stays(world: World, spec: dict[str, Any], words: str) -> None:
    world.apply(rule(endpoints=["10.16.0.9"]))
    before = vips(world, LB)
    world.apply(rule(**{"endpoints": [], **spec}))
    assert any(words in failure.sentence for failure in world.failures), world.failures
    assert vips(world, LB) == before
    assert b'"Ready","status":"False"' in bytes(world.get(SWITCH_LB_RULES, "front").status)
