"""Services and slices in, balancers out."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.kube.kinds import SUBNETS
from ovnloom.core.testing import World
from ovnloom.plugins.service.model import ENDPOINT_SLICES, SERVICES
from tests.plugins.service.words import endpoint, members, piece, service, vips

DUAL: dict[str, Any] = {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:96::10"]}


def test_a_service_is_balanced_for_the_pods_of_its_vpc(world: World) -> None:
    world.apply(service(), piece(endpoint("10.16.0.9"), endpoint("10.16.0.10")))
    row = world.rows("Load_Balancer")["default/web:tcp"]
    assert row["vips"] == {"10.96.0.10:80": "10.16.0.9:8080,10.16.0.10:8080"}
    assert row["protocol"] == {"tcp"}
    assert row["options"] == {"reject": "true", "event": "false"}
    assert members(world) == {"default/web:tcp"}
    [group] = world.database.replica.table("Load_Balancer_Group")
    assert world.rows("Logical_Switch")["ovn-default"]["load_balancer_group"] == {group}
    assert not world.rows("Logical_Switch")["join"]["load_balancer_group"]
    assert world.get(SERVICES, "web", "default").metadata.annotations == {"ovn.kubernetes.io/vpc": "ovn-cluster"}
    assert not world.failures


def test_everything_goes_with_the_service(world: World) -> None:
    world.apply(service(), piece(endpoint("10.16.0.9")))
    world.delete(SERVICES, "web", "default")
    assert not world.rows("Load_Balancer")
    assert not members(world)


def test_both_families_and_several_protocols(world: World) -> None:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": "named"},
        {"name": "assoc", "port": 7, "protocol": "SCTP"},
    ]
    numbers = [
        {"name": "dns", "protocol": "UDP", "port": 5353},
        {"name": "dns-tcp", "protocol": "TCP", "port": 5354},
        {"name": "metrics", "protocol": "TCP", "port": 9999},
        {"name": "assoc", "protocol": "SCTP", "port": 77},
    ]
    world.apply(
        service(**DUAL, ports=ports), piece(endpoint("10.16.0.9"), ports=numbers), piece(endpoint("fd00::9"), name="six", ports=numbers)
    )
    assert vips(world) == {
        "10.96.0.10:53": "10.16.0.9:5354",
        "[fd00:96::10]:53": "[fd00::9]:5354",
        "10.96.0.10:9153": "10.16.0.9:9999",
        "[fd00:96::10]:9153": "[fd00::9]:9999",
    }
    assert vips(world, "default/web:udp") == {"10.96.0.10:53": "10.16.0.9:5353", "[fd00:96::10]:53": "[fd00::9]:5353"}
    assert world.rows("Load_Balancer")["default/web:udp"]["options"]["ct_flush"] == "true"
    assert vips(world, "default/web:sctp") == {"10.96.0.10:7": "10.16.0.9:77", "[fd00:96::10]:7": "[fd00::9]:77"}


def test_a_name_may_be_another_number_in_each_slice(world: World) -> None:
    ports = [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": "web"}]
    one, other = ([{"name": "web", "protocol": "TCP", "port": n}] for n in (8080, 9090))
    world.apply(service(ports=ports), piece(endpoint("10.16.0.9"), ports=one), piece(endpoint("10.16.0.8"), name="b", ports=other))
    assert vips(world) == {"10.96.0.10:80": "10.16.0.8:9090,10.16.0.9:8080"}


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": "", "clusterIPs": [], "type": "ExternalName", "externalName": "example.com"},
        {"clusterIP": "None", "externalIPs": ["192.0.2.7"]},
        {"clusterIP": "10.96.0.10.1"},
    ],
)
def test_no_address_no_balancer(world: World, spec: dict[str, Any]) -> None:
    world.apply(service(**spec), piece(endpoint("10.16.0.9")))
    assert not world.rows("Load_Balancer")
    assert not world.get(SERVICES, "web", "default").metadata.annotations


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_what_another_proxy_serves(world: World, label: str) -> None:
    world.apply(service(labels={label: "x"}), piece(endpoint("10.16.0.9")))
    assert not world.rows("Load_Balancer")
    world.apply({**service(), "metadata": {"name": "web", "namespace": "default", "labels": {label: None}}})
    assert vips(world) == {"10.96.0.10:80": "10.16.0.9:8080"}


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ([{}, {"ready": False}], "10.16.0.1:8080"),
        ([{"ready": False, "serving": True, "terminating": True}, {}], "10.16.0.2:8080"),
        ([{"ready": False, "serving": True, "terminating": True}, {"ready": False}], "10.16.0.1:8080"),
        ([{"ready": False, "serving": False, "terminating": True}, {"ready": False, "serving": True}], ""),
        # publishNotReadyAddresses: the slice says ready although it ends
        ([{"ready": True, "serving": False, "terminating": True}, {}], "10.16.0.1:8080,10.16.0.2:8080"),
    ],
)
def test_who_gets_traffic(world: World, states: list[dict[str, Any]], chosen: str) -> None:
    world.apply(service(), piece(*(endpoint(f"10.16.0.{n}", **state) for n, state in enumerate(states, 1))))
    assert vips(world) == {"10.96.0.10:80": chosen}


def test_conditions_that_are_not_said_mean_ready(world: World) -> None:
    world.apply(service(), piece({"addresses": ["10.16.0.1"]}))
    assert vips(world) == {"10.96.0.10:80": "10.16.0.1:8080"}


def test_a_service_without_endpoints_refuses(world: World) -> None:
    world.apply(service())
    assert vips(world) == {"10.96.0.10:80": ""}
    world.apply(piece(endpoint("10.16.0.9")))
    assert vips(world) == {"10.96.0.10:80": "10.16.0.9:8080"}
    world.delete(ENDPOINT_SLICES, "web-1", "default")
    assert vips(world) == {"10.96.0.10:80": ""}
    world.apply({**piece(), "endpoints": None, "ports": None})
    assert vips(world) == {"10.96.0.10:80": ""}


@pytest.mark.parametrize(
    ("config", "seconds"), [(None, "10800"), ({"clientIP": {"timeoutSeconds": 7}}, "7"), ({"clientIP": {"timeoutSeconds": 86400}}, "65535")]
)
def test_affinity_has_the_services_own_time(world: World, config: dict[str, Any] | None, seconds: str) -> None:
    world.apply(service(sessionAffinity="ClientIP", sessionAffinityConfig=config), piece(endpoint("10.16.0.9")))
    assert world.rows("Load_Balancer")["default/web:tcp"]["options"]["affinity_timeout"] == seconds
    world.apply(service(sessionAffinity="None", sessionAffinityConfig=None))
    assert "affinity_timeout" not in world.rows("Load_Balancer")["default/web:tcp"]["options"]


EXTERNAL: dict[str, Any] = {"externalIPs": ["192.0.2.7", "2001:db8::1"], "type": "LoadBalancer"}


def ingress(*ips: dict[str, str]) -> dict[str, Any]:
    return {"status": {"loadBalancer": {"ingress": list(ips)}}}


def test_announced_addresses_are_served_for_pods(world: World) -> None:
    world.apply(
        service(**EXTERNAL) | ingress({"ip": "192.0.2.9"}, {"ip": "192.0.2.10", "ipMode": "Proxy"}, {"hostname": "x"}),
        piece(endpoint("10.16.0.9")),
    )
    assert set(vips(world)) == {"10.96.0.10:80", "192.0.2.7:80", "192.0.2.9:80"}
    world.apply(service(**EXTERNAL, loadBalancerSourceRanges=["10.0.0.0/8"]))
    assert set(vips(world)) == {"10.96.0.10:80", "192.0.2.7:80"}
    world.apply(service(**EXTERNAL, externalTrafficPolicy="Local"))
    assert set(vips(world)) == {"10.96.0.10:80"}


def test_nobody_catches_addresses_that_are_others(world: World) -> None:
    """externalIPs are their author's word only: neither another Service's address nor one of a Subnet."""
    world.apply(service("dns", "kube-system", clusterIP="10.96.0.11"), service("first", clusterIP="10.96.0.12", externalIPs=["192.0.2.7"]))
    world.apply(service(externalIPs=["10.96.0.11", "192.0.2.7", "192.0.2.8", "10.16.0.44"]))
    assert set(vips(world)) == {"10.96.0.10:80", "192.0.2.8:80"}
    world.delete(SERVICES, "first", "default")
    world.delete(SERVICES, "dns", "kube-system")
    assert set(vips(world)) == {"10.96.0.10:80", "192.0.2.8:80", "192.0.2.7:80", "10.96.0.11:80"}
    # a controller may announce an address of a Subnet
    world.apply(service(type="LoadBalancer") | ingress({"ip": "10.16.0.44"}))
    assert "10.16.0.44:80" in vips(world)


def test_names_and_labels_are_only_text(world: World) -> None:
    bad = '"; drop || ip4.dst == $all'
    world.apply(
        service(labels={"a": bad}, ports=[{"name": bad, "port": 80, "protocol": "TCP"}, {"name": "x", "port": 81, "protocol": bad}])
    )
    world.apply(piece({"addresses": [bad, "10.16.0.9"]}, endpoint("10.16.0.8"), ports=[{"name": bad, "protocol": "TCP", "port": 8080}]))
    assert vips(world) == {"10.96.0.10:80": "10.16.0.8:8080"}


def test_subnets_that_are_not_served(world: World) -> None:
    for name, cidr, spec in (
        ("off", "10.20.0.0/24", {"enableLb": False}),
        ("on", "10.21.0.0/24", {}),
        ("other", "10.22.0.0/24", {"provider": "ipvlan"}),
    ):
        world.put({"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": {"cidrBlock": cidr, **spec}})
    world.settle()
    groups = {name: bool(row["load_balancer_group"]) for name, row in world.rows("Logical_Switch").items()}
    assert groups == {"ovn-default": True, "on": True, "off": False, "other": False, "join": False}
    assert world.get(SUBNETS, "on").spec.enable_lb is True
    assert world.get(SUBNETS, "join").spec.enable_lb is None
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "on"}, "spec": {"enableLb": False}})
    assert not world.rows("Logical_Switch")["on"]["load_balancer_group"]
    assert not world.failures
