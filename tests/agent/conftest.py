from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, NamedTuple

import aiohttp
import pytest

from ovnloom.agent.main import Agent, Options
from ovnloom.agent.server import cni_application, serve_cni
from ovnloom.core.config import Config
from ovnloom.core.kube.access import Access
from ovnloom.core.kube.client import Client
from ovnloom.core.kube.kinds import Node, NodeAddress, NodeStatus, Pod, Subnet, SubnetSpec
from ovnloom.core.kube.objects import Metadata
from ovnloom.core.plugins import AGENT, load
from tests.agent.node import Node as TestNode
from tests.agent.node import need_node, node, pod_namespace

_versions = count(10)
P = "ovn.kubernetes.io/"
NODE_NOTES = {
    "allocated": "true",
    "ip_address": "100.64.0.2,fd00:100:64::2",
    "cidr": "100.64.0.0/16,fd00:100:64::/112",
    "gateway": "100.64.0.1,fd00:100:64::1",
    "mac_address": "0a:00:00:00:40:02",
}
POD_NOTES = {
    "allocated": "true",
    "routed": "true",
    "logical_switch": "ovn-default",
    "ip_address": "10.16.0.5,fd00:10:16::5",
    "cidr": "10.16.0.0/16,fd00:10:16::/112",
    "gateway": "10.16.0.1,fd00:10:16::1",
    "mac_address": "0a:00:00:00:00:05",
}


def meta(name: str, namespace: str = "", uid: str = "", **notes: str) -> Metadata:
    annotations = {P + key: value for key, value in notes.items()}
    return Metadata(name=name, namespace=namespace, uid=uid, annotations=annotations, resource_version=str(next(_versions)))


class Answer(NamedTuple):
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Bed:
    """An agent on a node. Its caches are filled by the test: the API server is not part of it."""

    def __init__(self, node: TestNode, timeout: float) -> None:
        self.node = node
        self.socket = node.home / "cni.sock"
        options = Options("node1", ovs_socket=node.endpoint, cni_socket=str(self.socket), timeout=timeout)
        self.agent = Agent(load(AGENT, Config()), Client(Access("http://127.0.0.1:1")), options)
        self.agent.nodes.upsert(Node(metadata=meta("node1", **NODE_NOTES), status=NodeStatus([NodeAddress("InternalIP", "192.0.2.2")])))
        self.subnet("ovn-default", "10.16.0.0/16,fd00:10:16::/112", nat_outgoing=True)
        self.subnet("join", "100.64.0.0/16,fd00:100:64::/112")

    def subnet(self, name: str, cidr: str, **spec: Any) -> None:
        self.agent.subnets.upsert(Subnet(metadata=meta(name), spec=SubnetSpec(cidr_block=cidr, **spec)))

    def pod(self, name: str = "p", uid: str = "u1", **notes: str) -> None:
        self.agent.pods.upsert(Pod(metadata=meta(name, "d", uid, **(POD_NOTES | notes))))

    @property
    def writes(self) -> tuple[int, int, int]:
        return self.agent.switch.commits, self.agent.host.kernel_writes, self.agent.host.firewall_writes

    async def ready(self) -> None:
        host = self.agent.host
        await asyncio.wait_for(host.changes.until(lambda: host.ready or None), 10)

    async def settled(self) -> None:
        """Whatever was to be noticed has been."""
        await asyncio.sleep(0.3)

    async def call(
        self, verb: str, netns: str = "", container: str = "abcdef0123456789", pod: str = "p", uid: str = "u1", **config: Any
    ) -> Answer:
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=d;K8S_POD_NAME={pod};K8S_POD_UID={uid}"
        env = {"CNI_CONTAINERID": container, "CNI_NETNS": netns, "CNI_IFNAME": "eth0", "CNI_ARGS": arguments}
        body = {"env": env, "config": {"cniVersion": "1.0.0", "name": "kube-ovn"} | config}
        session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket)))
        async with session, session.post(f"http://agent/api/v1/{verb}", json=body) as answer:
            return Answer(answer.status, await answer.text())

    async def installed(self, port: str = "abcdef012345_h") -> None:
        """What ovn-controller does, when the port is there."""
        switch = self.agent.switch
        await asyncio.wait_for(switch.changes.until(lambda: port in switch.interfaces or None), 5)
        await asyncio.to_thread(self.node.vsctl, "--no-wait", "set", "Interface", port, "external_ids:ovn-installed=true")

    async def add(self, netns: str, **arguments: Any) -> Answer:
        """ADD, with ovn-controller doing its part."""
        port = f"{arguments.get('container', 'abcdef012345')[:12]}_h"
        answer, _ = await asyncio.gather(self.call("add", netns, **arguments), self.installed(port))
        return answer


@asynccontextmanager
async def running(node: TestNode, patience: float = 5.0) -> AsyncIterator[Bed]:
    bed = Bed(node, patience)
    agent = bed.agent
    agent._synced = agent._bound = True
    agent.switch.start()
    host = asyncio.create_task(agent.host.run())
    runner = await serve_cni(cni_application(agent.attachments.handle), bed.socket)
    try:
        yield bed
    finally:
        await runner.cleanup()
        host.cancel()
        with suppress(asyncio.CancelledError):
            await host
        await agent.switch.stop()


@pytest.fixture
def a_node() -> Iterator[TestNode]:
    need_node()
    with node() as made:
        yield made


@pytest.fixture
async def bed(a_node: TestNode) -> AsyncIterator[Bed]:
    async with running(a_node) as bed:
        await bed.ready()
        yield bed


@pytest.fixture
def netns(a_node: TestNode) -> Iterator[str]:
    with pod_namespace(f"{a_node.home.name}-pod") as path:
        yield path
