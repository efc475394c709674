"""106,000 packets, judged by others: the rows we write, evaluated, give the recorded verdict for each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ovnloom.core.config import ClusterConfig
from ovnloom.core.testing import World, pod
from ovnloom.plugins.acl.plugin import AclPlugin
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.subnet.settings import SubnetConfig
from ovnloom.plugins.vpc.plugin import VpcPlugin
from tests.plugins.acl.ovnmatch import Names, Packet, parse

VECTORS = Path(__file__).parents[2] / "vectors"
PARTS = {"netpol": 14, "adminpol": 6, "cnp": 6}
PER_LINE = {"netpol": 100, "adminpol": 60, "cnp": 60}


def empty() -> World:
    subnet = SubnetPlugin(SubnetConfig(cidr="10.16.0.0/16,fd00:10:16::/48"), ClusterConfig())
    return World(VpcPlugin, subnet, NodePlugin, AclPlugin)


def fill(world: World, case: dict[str, Any]) -> World:
    world.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": []}})
    for name, labels in case["namespaces"].items():
        world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for one in case["pods"]:
        notes = {"ovn.kubernetes.io/ip_address": one["ip"]}
        ports = [{"name": p["name"], "containerPort": p["port"], "protocol": p["protocol"]} for p in one["ports"]]
        spec = {"nodeName": "n1", "containers": [{"ports": ports}]}
        world.put({**pod(one["name"], one["ns"], labels=one["labels"], annotations=notes), "spec": spec})
    for policy in [*case["policies"], *case.get("anps", ()), *case.get("cnps", ()), case.get("banp")]:
        if policy:
            world.put(policy)
    world.settle()
    assert not world.failures, world.failures
    return world


class Judge:
    """The access lists of a world, ready to be asked."""

    def __init__(self, world: World) -> None:
        replica = world.database.replica
        ports = {row.uuid: name for name, row in world.rows("Logical_Switch_Port").items()}
        groups = {name: frozenset(ports[u] for u in row["ports"]) for name, row in world.rows("Port_Group").items()}  # type: ignore[union-attr]
        self.names = Names({name: frozenset(row["addresses"]) for name, row in world.rows("Address_Set").items()}, groups)  # type: ignore[arg-type]
        self.lists: dict[str, list[tuple[int, int, Any, str]]] = {"from-lport": [], "to-lport": []}
        for row in replica.table("ACL").values():
            tier, priority = int(row["tier"]), -int(row["priority"])  # type: ignore[arg-type]
            self.lists[str(row["direction"])].append((tier, priority, parse(str(row["match"])), str(row["action"])))
        for acls in self.lists.values():
            acls.sort(key=lambda acl: (acl[:2], acl[3] == "drop"))

    def dropped(self, direction: str, packet: Packet) -> bool:
        """The first that meets the packet decides; ``pass`` leaves it to the next tier."""
        passed = -1
        for tier, _, test, action in self.lists[direction]:
            if tier > passed and test(packet, self.names):
                if action != "pass":
                    return action == "drop"
                passed = tier
        return False

    def verdict(self, packet: Packet) -> str:
        leaving, entering = (self.dropped("from-lport", packet), self.dropped("to-lport", packet))
        return {(False, False): "A", (True, False): "E", (False, True): "I", (True, True): "B"}[leaving, entering]


def packet(case: dict[str, Any], source: int | str, target: int | str, protocol: str, port: int) -> Packet:
    def side(peer: int | str) -> tuple[str, str]:
        if isinstance(peer, str):
            return peer, ""
        one = case["pods"][peer]
        return one["ip"], f"{one['name']}.{one['ns']}"

    (src, inport), (dst, outport) = side(source), side(target)
    return Packet(src, dst, protocol.lower(), port, inport, outport)


@pytest.mark.parametrize(("vectors", "part"), [(name, part) for name, parts in PARTS.items() for part in range(parts)])
def test_every_packet_gets_the_recorded_verdict(vectors: str, part: int) -> None:
    lines = gzip.open(VECTORS / f"{vectors}.jsonl.gz", "rt").read().splitlines()[part :: PARTS[vectors]]  # noqa: SIM115
    wrong, judged = [], 0
    for line in lines:
        vector = json.loads(line)
        judge = Judge(fill(empty(), vector["in"]))
        for asked, wanted in zip(vector["in"]["packets"], vector["out"], strict=True):
            judged += 1
            if judge.verdict(packet(vector["in"], *asked)) != wanted:
                wrong.append((vector["id"], asked, wanted))
    assert judged == PER_LINE[vectors] * len(lines)
    assert not wrong, f"{len(wrong)} of {judged}: {wrong[:5]}"
