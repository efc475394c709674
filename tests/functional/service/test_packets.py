"""ovn-northd compiles the balancers, ovn-trace follows packets to a Service."""

from __future__ import annotations

from typing import Any

import pytest

from ovnloom.core.kube.kinds import PODS, SUBNETS
from ovnloom.core.testing import pod
from ovnloom.plugins.service.model import SERVICES
from tests.functional.service.bridge import Bridge
from tests.plugins.service.words import endpoint, piece, service

pytestmark = pytest.mark.ovn


async def test_a_packet_reaches_an_endpoint_and_itself(bridge: Bridge) -> None:
    await bridge.apply(pod("a"), pod("b"))
    a, b = bridge.address("a"), bridge.address("b")
    await bridge.apply(service(), piece(endpoint(a, "a"), endpoint(b, "b")))
    trace = bridge.packet("a", "10.96.0.10", 80)
    assert f"ct_lb_mark(backends={a}:8080,{b}:8080)" in trace
    assert 'output to "b.default"' in bridge.packet("a", "10.96.0.10", 80, "tcp", f"--lb-dst={b}:8080")
    hairpin = bridge.packet("a", "10.96.0.10", 80, "tcp", f"--lb-dst={a}:8080")
    assert 'output to "a.default"' in hairpin
    # another port is not the Service's: by the node, which knows better
    assert "ct_lb_mark(backends" not in bridge.packet("a", "10.96.0.10", 81)


async def test_one_endpoint_comes_and_goes(bridge: Bridge) -> None:
    await bridge.apply(pod("a"), service(), piece(endpoint("192.168.0.2"), endpoint("192.168.0.3")))
    # a host-network pod: by the router to its node
    assert 'output to "node-n1"' in bridge.packet("a", "10.96.0.10", 80, "tcp", "--lb-dst=192.168.0.2:8080")
    await bridge.apply(piece(endpoint("192.168.0.3")))
    assert "ct_lb_mark(backends=192.168.0.3:8080)" in bridge.packet("a", "10.96.0.10", 80)
    await bridge.apply(piece())
    assert "tcp_reset" in bridge.packet("a", "10.96.0.10", 80)
    await bridge.apply(piece(endpoint("192.168.0.9")))
    assert "ct_lb_mark(backends=192.168.0.9:8080)" in bridge.packet("a", "10.96.0.10", 80)


async def test_udp_without_endpoints_is_refused_by_icmp(bridge: Bridge) -> None:
    await bridge.apply(pod("a"), service(ports=[{"port": 53, "protocol": "UDP"}]))
    assert "icmp4" in bridge.packet("a", "10.96.0.10", 53, "udp")
    assert bridge.ovn.sbctl("--bare", "--columns=options", "find", "Load_Balancer").count("ct_flush=true") == 1


async def test_affinity_is_learned_for_its_own_time(bridge: Bridge) -> None:
    affine: dict[str, Any] = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}
    await bridge.apply(pod("a"), service(**affine), piece(endpoint("192.168.0.2"), endpoint("192.168.0.3")))
    flows = bridge.ovn.sbctl("lflow-list", "ovn-default")
    learned = [line for line in flows.splitlines() if "commit_lb_aff" in line]
    assert len(learned) == 2
    assert all("timeout = 7" in line for line in learned)
    assert "chk_lb_aff" in bridge.packet("a", "10.96.0.10", 80)


async def test_another_vpc_does_not_meet_it(bridge: Bridge) -> None:
    subnet = {
        "apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "far"},
        "spec": {"vpc": "blue", "cidrBlock": "10.50.0.0/24", "namespaces": ["far"]},
    }  # fmt: skip
    await bridge.apply({"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": "blue"}, "spec": {}}, subnet, pod("f", "far"))
    await bridge.apply(service(namespace="far"), piece(endpoint(bridge.address("f", "far"), "f"), namespace="far"))
    assert "10.96.0.10" in bridge.ovn.sbctl("lflow-list", "far")
    assert "10.96.0.10" not in bridge.ovn.sbctl("lflow-list", "ovn-default")
    # the switch refers to the group strongly: both go in one transaction
    await bridge.delete(PODS, "f", "far")
    await bridge.delete(SUBNETS, "far")
    assert bridge.ovn.nbctl("--bare", "--columns=name", "list", "Load_Balancer_Group").split() == ["cluster-ovn-cluster"]
    await bridge.delete(SERVICES, "web", "far")
    assert not bridge.ovn.nbctl("list", "Load_Balancer").strip()
    assert "10.96.0.10" not in bridge.ovn.sbctl("lflow-list")


async def test_both_families(bridge: Bridge) -> None:
    subnet = {
        "apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "dual"},
        "spec": {"cidrBlock": "10.60.0.0/24,fd60::/64", "namespaces": ["default"]},
    }  # fmt: skip
    await bridge.apply(subnet, pod("a"), pod("b"))
    six = bridge.address("b").split(",")[1]
    await bridge.apply(service(clusterIP="fd00:96::10"), piece(endpoint(six, "b")))
    assert f"ct_lb_mark(backends=[{six}]:8080)" in bridge.packet("a", "fd00:96::10", 80)
    assert 'output to "b.default"' in bridge.packet("a", "fd00:96::10", 80, "tcp", f"--lb-dst=[{six}]:8080")
    await bridge.apply(piece(endpoint(six, "b", ready=False)))
    assert "tcp_reset" in bridge.packet("a", "fd00:96::10", 80)


async def test_a_rule_is_balanced_and_its_backends_are_watched(bridge: Bridge) -> None:
    await bridge.apply(pod("a"), pod("b"))
    b = bridge.address("b")
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    rule = {
        "apiVersion": "kubeovn.io/v1", "kind": "SwitchLBRule", "metadata": {"name": "front"},
        "spec": {"vip": "10.0.0.5", "namespace": "default", "selector": ["app:web"], "ports": ports},
    }  # fmt: skip
    await bridge.apply(rule, piece(endpoint(b, "b"), of="slr-front", ports=[{"name": "http", "protocol": "TCP", "port": 8080}]))
    assert 'output to "b.default"' in bridge.packet("a", "10.0.0.5", 80, "tcp", f"--lb-dst={b}:8080")
    watched = bridge.ovn.sbctl("--bare", "--columns=ip,port,logical_port,src_ip,protocol", "list", "Service_Monitor").split()
    [probes] = [row["ip_port_mappings"][b] for row in bridge.world.rows("Load_Balancer").values()]
    assert watched == [b, "8080", "b.default", probes.partition(":")[2], "tcp"]
    # an endpoint that does not answer gets nothing more, and the last one's end is told at once
    bridge.ovn.sbctl(
        "set", "Service_Monitor", bridge.ovn.sbctl("--bare", "--columns=_uuid", "list", "Service_Monitor").strip(), "status=offline"
    )
    bridge.ovn.nbctl("--wait=sb", "sync")
    assert "tcp_reset" in bridge.packet("a", "10.0.0.5", 80)
