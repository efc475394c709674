"""ovn-northd compiles our rows, ovn-trace follows packets through them, and its verdict is the recorded one."""

from __future__ import annotations

import gzip
import json

import pytest

from ovnloom.core.testing import World, pod
from tests.functional.acl.tracing import Recorder, Tracer
from tests.functional.ovn.conftest import Open
from tests.functional.ovn_server import Ovn
from tests.plugins.acl.ovnmatch import Packet
from tests.plugins.acl.test_vectors import VECTORS, empty, fill, packet
from tests.plugins.acl.words import network_policy, node, security_group, subnet

pytestmark = pytest.mark.ovn

SAMPLE = [("netpol", 3), ("netpol", 150), ("adminpol", 30), ("cnp", 53)]
EACH = 6  # packets that get through, and as many that do not


async def traced(recorder: Recorder, ovn: Ovn, connect: Open) -> Tracer:
    ovn.northd()
    await recorder.write(await connect(ovn.remote("nb")))
    ovn.nbctl("--wait=sb", "sync")
    return Tracer(recorder.world, ovn)


@pytest.mark.parametrize(("vectors", "line"), SAMPLE)
async def test_the_recorded_verdict(ovn: Ovn, connect: Open, vectors: str, line: int) -> None:
    vector = json.loads(gzip.open(VECTORS / f"{vectors}.jsonl.gz", "rt").read().splitlines()[line])  # noqa: SIM115
    recorder = Recorder(empty())
    fill(recorder.world, vector["in"])
    tracer = await traced(recorder, ovn, connect)
    asked = list(zip(vector["in"]["packets"], vector["out"], strict=True))
    through, stopped = [one for one in asked if one[1] == "A"][:EACH], [one for one in asked if one[1] != "A"][:EACH]
    assert len(through) == len(stopped) == EACH
    wrong = [one for one in through + stopped if tracer.passes(packet(vector["in"], *one[0])) != (one[1] == "A")]
    assert not wrong


def address(world: World, port: str) -> str:
    [addresses] = world.rows("Logical_Switch_Port")[port]["addresses"]  # type: ignore[misc]
    return str(addresses).split()[1]


async def test_answers_find_back_where_nothing_is_balanced(ovn: Ovn, connect: Open) -> None:
    """Pods of a Vpc of their own, isolated in one direction by a policy that allows nothing: what they began is answered."""
    recorder = Recorder(empty())
    world = recorder.world
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": "red"}, "spec": {}}, subnet("red-net", vpc="red"))
    notes = {"ovn.kubernetes.io/logical_switch": "red-net"}
    world.apply(node("n1"), pod("a", annotations=notes, labels={"app": "a"}), pod("b", annotations=notes))
    world.apply(network_policy(podSelector={"matchLabels": {"app": "a"}}, policyTypes=["Ingress"]))
    tracer = await traced(recorder, ovn, connect)
    a, b = address(world, "a.default"), address(world, "b.default")
    begun = Packet(b, a, "tcp", 80, "b.default", "a.default")
    assert not tracer.passes(begun, switch="red-net", router="red")
    assert tracer.passes(begun, switch="red-net", router="red", ct="est,rpl")
    assert tracer.passes(Packet(a, b, "tcp", 80, "a.default", "b.default"), switch="red-net", router="red")


async def test_a_private_subnet(ovn: Ovn, connect: Open) -> None:
    recorder = Recorder(empty())
    world = recorder.world
    world.apply(node("n1"), subnet(private=True, allowSubnets=["192.0.2.0/24"]))
    notes = {"ovn.kubernetes.io/logical_switch": "blue"}
    world.apply(pod("a", annotations=notes), pod("b", annotations=notes))
    tracer = await traced(recorder, ovn, connect)
    a, b = address(world, "a.default"), address(world, "b.default")

    def passes(source: str, target: str, inport: str = "", outport: str = "") -> bool:
        return tracer.passes(Packet(source, target, "tcp", 80, inport, outport), switch="blue")

    assert passes(a, b, "a.default", "b.default")
    assert passes("192.0.2.7", a, outport="a.default")
    assert passes("100.64.0.2", a, outport="a.default")
    assert not passes("10.16.0.9", a, outport="a.default")
    assert passes(a, "192.0.2.7", "a.default")
    assert not passes(a, "198.51.100.7", "a.default")


async def test_security_groups(ovn: Ovn, connect: Open) -> None:
    recorder = Recorder(empty())
    world = recorder.world
    web = {"ipVersion": "ipv4", "protocol": "tcp", "priority": 1, "policy": "allow", "portRangeMin": 80, "portRangeMax": 80}
    world.apply(
        node("n1"),
        security_group("web", ingressRules=[{**web, "remoteType": "securityGroup", "remoteSecurityGroup": "front"}]),
        security_group("front", egressRules=[{**web, "remoteType": "address", "remoteAddress": "0.0.0.0/0"}]),
        *(
            pod(name, annotations={"ovn.kubernetes.io/security_groups": groups})
            for name, groups in (("w", "web"), ("f", "front"), ("o", ""))
        ),
    )
    tracer = await traced(recorder, ovn, connect)

    def passes(source: str, target: str, port: int = 80, ct: str = "new") -> bool:
        ports = f"{source}.default", f"{target}.default"
        return tracer.passes(Packet(address(world, ports[0]), address(world, ports[1]), "tcp", port, *ports), ct=ct)

    assert passes("f", "w")
    assert passes("w", "f", 9, ct="est,rpl")
    assert not passes("f", "w", 81)
    assert not passes("o", "w")
    assert not passes("w", "o")
    assert passes("f", "o")
