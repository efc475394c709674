"""The whole daemon: a real API server, a real switch, the real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import yaml

from ovnloom.agent import conflist
from ovnloom.agent.main import Agent, Options
from ovnloom.core.config import Config
from ovnloom.core.kube.client import Client
from ovnloom.core.plugins import AGENT, load
from tests.agent.conftest import NODE_NOTES, POD_NOTES, P
from tests.agent.node import Node
from tests.functional.apiserver import ApiServer
from tests.functional.apiserver import running as api_server

pytestmark = pytest.mark.node

CRD = Path(__file__).parents[2] / "plugins/subnet/crds/subnets.yaml"
PORT = 10665
MERGE = "application/merge-patch+json"


def notes(values: dict[str, str]) -> dict[str, dict[str, dict[str, str]]]:
    return {"metadata": {"annotations": {P + key: value for key, value in values.items()}}}


@pytest.fixture
def api(a_node: Node) -> Iterator[ApiServer]:
    """On the node, with the Node (without an address yet) and a Subnet."""
    for server in api_server():
        server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(CRD.read_text()))
        server.request("POST", "/api/v1/nodes", {"metadata": {"name": "node1"}})
        status = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}}
        server.request("PATCH", "/api/v1/nodes/node1/status", status, content_type=MERGE)
        yield server


@asynccontextmanager
async def daemon(a_node: Node, api: ApiServer, conf_dir: Path) -> AsyncIterator[Agent]:
    socket = str(a_node.home / "cni.sock")
    options = Options("node1", str(api.kubeconfig), cni_socket=socket, ovs_socket=a_node.endpoint, conf_dir=str(conf_dir), timeout=10)
    async with Client.load(str(api.kubeconfig)) as client:
        agent = Agent(load(AGENT, Config()), client, options)
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def readyz() -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{PORT}/readyz") as answer:
        return answer.status, await answer.text()


async def served(agent: Agent) -> None:
    await asyncio.wait_for(agent.host.changes.until(lambda: None if agent.unready() else True), 10)
    await asyncio.sleep(0.5)


async def test_from_a_bare_node_to_a_pod_and_a_restart_without_a_write(a_node: Node, api: ApiServer, netns: str, tmp_path: Path) -> None:
    async with daemon(a_node, api, tmp_path) as agent:
        await asyncio.wait_for(agent.host.changes.until(lambda: any("address" in p for p in agent.host.problems) or None), 10)
        status, text = await readyz()
        assert status == 503 and "no address on the join Subnet" in text
        assert not (tmp_path / conflist.FILE).exists(), "a node without a network must not look as if it had one"
        await asyncio.to_thread(api.request, "PATCH", "/api/v1/nodes/node1", notes(NODE_NOTES), content_type=MERGE)
        await served(agent)
        assert await readyz() == (200, "ok\n")
        assert (tmp_path / conflist.FILE).exists()
        assert agent.nodes.get("", "node1").metadata.annotations[f"{P}chassis"] == "chassis-1"  # type: ignore[union-attr]
        assert agent.client.writes == 1
        await _a_pod(a_node, api, agent, netns)
        assert agent.client.writes == 1, "a pod costs the agent no request"
    written = (tmp_path / conflist.FILE).stat().st_mtime_ns
    async with daemon(a_node, api, tmp_path) as again:
        await served(again)
        assert (again.client.writes, again.switch.commits, again.host.kernel_writes, again.host.firewall_writes) == (0, 0, 0, 0)
    assert (tmp_path / conflist.FILE).stat().st_mtime_ns == written


async def _a_pod(a_node: Node, api: ApiServer, agent: Agent, netns: str) -> None:
    spec = {"nodeName": "node1", "containers": [{"name": "c", "image": "none"}]}
    metadata = {"name": "p", "namespace": "default"} | notes(POD_NOTES)["metadata"]
    await asyncio.to_thread(api.request, "POST", "/api/v1/namespaces/default/pods", {"metadata": metadata, "spec": spec})
    env = {
        "CNI_CONTAINERID": "abcdef0123456789",
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p",
    }
    body = {"env": env, "config": {"cniVersion": "1.0.0", "name": "kube-ovn"}}
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(a_node.home / "cni.sock")))
    async with session:
        adding = asyncio.create_task(session.post("http://agent/api/v1/add", json=body).__aenter__())
        await asyncio.wait_for(agent.switch.changes.until(lambda: "abcdef012345_h" in agent.switch.interfaces or None), 5)
        await asyncio.to_thread(a_node.vsctl, "--no-wait", "set", "Interface", "abcdef012345_h", "external_ids:ovn-installed=true")
        assert (await adding).status == 200
