"""Whose pods reach a Service: those of the Vpc that its endpoints are in."""

from __future__ import annotations

from ovnloom.core.kube.kinds import PODS, SUBNETS
from ovnloom.core.testing import World, pod
from ovnloom.plugins.service.model import SERVICES
from tests.plugins.service.words import endpoint, members, piece, service, vips

BLUE = """
apiVersion: kubeovn.io/v1
kind: Vpc
metadata: {name: blue}
spec: {}
---
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: team}
spec: {vpc: blue, cidrBlock: 10.16.0.0/24, namespaces: [team]}
"""


def blue(world: World) -> str:
    """A Vpc with a Subnet and a pod, whose address is answered."""
    world.apply(BLUE, pod("p", "team"))
    address: str = world.get(PODS, "p", "team").metadata.annotations["ovn.kubernetes.io/ip_address"]
    return address


def vpc(world: World, namespace: str = "team") -> str:
    noted: str = world.get(SERVICES, "web", namespace).metadata.annotations["ovn.kubernetes.io/vpc"]
    return noted


def test_the_vpc_of_its_pods_and_where_it_was_last(world: World) -> None:
    address = blue(world)
    world.apply(service(namespace="team"))
    assert vpc(world) == "ovn-cluster"
    world.apply(piece(endpoint(address, "p"), namespace="team"))
    assert vpc(world) == "blue"
    assert (members(world), members(world, "blue")) == (set(), {"team/web:tcp"})
    groups = {row["name"]: uuid for uuid, row in world.database.replica.table("Load_Balancer_Group").items()}
    assert world.rows("Logical_Switch")["team"]["load_balancer_group"] == {groups["cluster-blue"]}
    world.apply(piece(namespace="team"))  # scaled to nothing: it refuses where it was
    assert members(world, "blue") == {"team/web:tcp"}
    assert vips(world, "team/web:tcp") == {"10.96.0.10:80": ""}


def test_endpoints_of_another_vpc_are_left_out(world: World) -> None:
    address = blue(world)
    world.apply(pod("q", "team", annotations={"ovn.kubernetes.io/logical_switch": "ovn-default"}))
    other = world.get(PODS, "q", "team").metadata.annotations["ovn.kubernetes.io/ip_address"]
    assert address == other  # one address, two networks
    world.apply(service(namespace="team"), piece(endpoint(other, "q"), endpoint(address, "p"), endpoint("192.168.0.2"), namespace="team"))
    assert vpc(world) == "ovn-cluster"
    assert vips(world, "team/web:tcp") == {"10.96.0.10:80": f"{other}:8080,192.168.0.2:8080"}


def test_a_slice_speaks_only_for_pods_of_its_namespace(world: World) -> None:
    address = blue(world)
    world.apply(service(), piece({**endpoint(address), "targetRef": {"kind": "Pod", "name": "p", "namespace": "team"}}))
    assert vpc(world, "default") == "ovn-cluster"
    assert members(world, "blue") == set()


def test_the_annotation_decides_and_must_name_a_vpc(world: World) -> None:
    blue(world)
    asking = service(namespace="team")
    asking["metadata"]["annotations"] = {"ovn.kubernetes.io/logical_router": "blue"}
    world.apply(asking, piece(endpoint("192.168.0.2"), namespace="team"))
    assert members(world, "blue") == {"team/web:tcp"}
    asking["metadata"]["annotations"] = {"ovn.kubernetes.io/logical_router": "nowhere\n"}
    world.apply(asking)
    assert members(world, "blue") == {"team/web:tcp"}
    [failure] = set(world.failures)
    assert "no Subnet is in a Vpc 'nowhere\\n'" in failure.sentence


def test_the_last_subnet_takes_its_group_along(world: World) -> None:
    blue(world)
    assert "cluster-blue" in world.rows("Load_Balancer_Group")
    world.delete(SUBNETS, "team")
    world.delete(PODS, "p", "team")
    assert world.get(SUBNETS, "team") is None
    assert set(world.rows("Load_Balancer_Group")) == {"cluster-ovn-cluster"}
    assert not world.failures
