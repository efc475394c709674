"""The worked example of the reference (A.15): what the northbound database holds after an empty start with one node and one pod."""

from __future__ import annotations

from ovnloom.core.kube.kinds import IPS, NODES, PODS, SUBNETS
from ovnloom.core.testing import World, counts, pod
from ovnloom.plugins.vpc.model import VPCS


def test_rows_of_the_worked_example(world: World) -> None:
    world.apply(pod("p", "d"))
    [router] = world.rows("Logical_Router").values()
    assert router["name"] == "ovn-cluster"
    assert router["options"] == {
        "mac_binding_age_threshold": "300",
        "dynamic_neigh_routers": "true",
        "always_learn_from_arp_request": "false",
    }
    ports = world.rows("Logical_Router_Port")
    assert {name: row["networks"] for name, row in ports.items()} == {
        "ovn-cluster-join": {"100.64.0.1/16"},
        "ovn-cluster-ovn-default": {"10.16.0.1/16"},
    }
    [route] = world.rows("Logical_Router_Static_Route").values()
    assert (route["ip_prefix"], route["nexthop"], route["policy"]) == ("0.0.0.0/0", "100.64.0.1", {"dst-ip"})
    policies = {(r["priority"], r["match"]): (r["action"], r["nexthops"]) for r in world.rows("Logical_Router_Policy").values()}
    assert policies == {
        (31000, "ip4.dst == 10.16.0.0/16"): ("allow", set()),
        (31000, "ip4.dst == 100.64.0.0/16"): ("allow", set()),
        (30000, "ip4.dst == 192.168.0.2"): ("reroute", {"100.64.0.2"}),
        (29000, "ip4.src == $gateway.n1_ip4"): ("reroute", {"100.64.0.2"}),
    }
    switch_ports = world.rows("Logical_Switch_Port")
    assert set(switch_ports) == {"join-ovn-cluster", "ovn-default-ovn-cluster", "node-n1", "p.d"}
    assert switch_ports["ovn-default-ovn-cluster"]["options"] == {"router-port": "ovn-cluster-ovn-default"}
    [address] = switch_ports["p.d"]["addresses"]
    assert address.endswith(" 10.16.0.2")
    assert switch_ports["p.d"]["external_ids"]["pod"] == "d/p"
    groups = world.rows("Port_Group")
    assert set(groups) == {"node.n1", "gateway.n1"}
    port = switch_ports["p.d"].uuid
    assert groups["node.n1"]["ports"] == groups["gateway.n1"]["ports"] == {port}
    assert all(row["external_ids"]["vendor"] == "kube-ovn" for rows in (switch_ports, ports, groups) for row in rows.values())


def test_objects_that_users_see(world: World) -> None:
    world.apply(pod("p", "d"))
    subnet = world.get(SUBNETS, "ovn-default")
    assert (subnet.spec.cidr_block, subnet.spec.gateway, subnet.spec.protocol) == ("10.16.0.0/16", "10.16.0.1", "IPv4")
    assert (subnet.spec.vpc, subnet.spec.provider, subnet.spec.gateway_type) == ("ovn-cluster", "ovn", "distributed")
    assert subnet.spec.exclude_ips == ["10.16.0.1"]
    assert world.get(VPCS, "ovn-cluster") is not None
    notes = world.get(PODS, "p", "d").metadata.annotations
    prefix = "ovn.kubernetes.io/"
    assert {name.removeprefix(prefix): value for name, value in notes.items() if not name.endswith("mac_address")} == {
        "allocated": "true",
        "routed": "true",
        "ip_address": "10.16.0.2",
        "cidr": "10.16.0.0/16",
        "gateway": "10.16.0.1",
        "logical_switch": "ovn-default",
        "logical_router": "ovn-cluster",
        "pod_nic_type": "veth-pair",
    }
    ip = world.get(IPS, "p.d")
    assert (ip.spec.pod_name, ip.spec.namespace, ip.spec.subnet, ip.spec.v4_ip_address) == ("p", "d", "ovn-default", "10.16.0.2")
    assert ip.metadata.labels["ovn.kubernetes.io/node-name"] == "n1"
    node = world.get(NODES, "n1").metadata.annotations
    assert node["ovn.kubernetes.io/ip_address"] == "100.64.0.2"
    assert node["ovn.kubernetes.io/port_name"] == "node-n1"


def test_a_pod_costs_two_writes_and_one(world: World) -> None:
    world.writes.clear()
    before = world.database.transactions
    world.apply(pod("p", "d"))
    world.engine.statuses("")
    assert {k: n for k, n in counts(world.writes).items() if k[0] != "status"} == {("patch", "pods"): 1, ("create", "ips.kubeovn.io"): 1}
    assert world.database.transactions == before + 1
    world.writes.clear()
    world.delete(PODS, "p", "d")
    assert {k: n for k, n in counts(world.writes).items() if k[0] != "status"} == {("delete", "ips.kubeovn.io"): 1}
    assert "p.d" not in world.rows("Logical_Switch_Port")
    assert world.rows("Port_Group")["node.n1"]["ports"] == set()


def test_a_restart_writes_nothing(world: World) -> None:
    for index in range(20):
        world.put(pod(f"p{index}", "d"))
    world.settle()
    transactions = world.database.transactions
    again = world.restarted()
    assert again.writes == []
    assert again.database.transactions == transactions
    assert not again.failures


def test_what_went_while_the_controller_was_down_goes_at_its_start(world: World) -> None:
    world.apply(pod("p", "d"), pod("q", "d"))
    again = World(*world.plugins.plugins)
    again.database = world.database
    for name, cache in world.caches.items():
        for obj in cache.all():
            if not (name == "pods" and obj.metadata.name == "p"):
                again.caches[name].upsert(obj)
    again.engine.load()
    again.settle()
    assert set(again.rows("Logical_Switch_Port")) & {"p.d", "q.d"} == {"q.d"}
    assert counts(w for w in again.writes if w.verb != "status") == {("delete", "ips.kubeovn.io"): 1}
    assert again.get(IPS, "p.d") is None
