"""`ovnloom leader`: the labels of ovn-central Pods follow real databases, northds and a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ovnloom.cli import leader
from ovnloom.core.errors import ConfigError
from ovnloom.core.kube.client import Client
from tests.functional.apiserver import ApiServer, apiserver
from tests.packaging.box import Box
from tests.packaging.test_start_db import Members

__all__ = ["apiserver"]

LABELS = (leader.NB, leader.SB, leader.NORTHD)


async def received(*chunks: bytes) -> list[object]:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    found: list[object] = []
    with pytest.raises(leader.Closed):
        async for message in leader.messages(reader):
            found.append(message)
    return found


async def test_messages_may_be_cut_anywhere() -> None:
    first: dict[str, object] = {"a": ["}", '"', "\\", "ü{"], "b": {}}
    second: dict[str, object] = {"c": [[], {}]}
    wire = json.dumps(first, ensure_ascii=False).encode() + b"\n" + json.dumps(second).encode()
    for cut in range(len(wire)):
        assert await received(wire[:cut], wire[cut:]) == [first, second]


async def test_what_is_no_json_ends_the_connection() -> None:
    assert await received(b'{"a": nonsense}') == []
    assert await received(b"[1, 2]") == []  # a list is JSON, but no message


@pytest.mark.parametrize(
    ("changes", "leads"),
    [
        ([{"initial": {"leader": True, "connected": True}}], True),
        ([{"initial": {"connected": True}}], False),  # a boolean that is false is left out
        ([{"initial": {"connected": True}}, {"modify": {"leader": True}}], True),
        ([{"initial": {"leader": True, "connected": True}}, {"modify": {"connected": False}}], False),
        ([{"insert": {"leader": True, "connected": True}}, {"delete": None}], False),
    ],
)
def test_updates_of_the_database_row(changes: list[dict[str, object]], leads: bool) -> None:
    row: dict[str, object] = {}
    for change in changes:
        row = leader._changed(row, change)
    assert bool(row.get("leader") and row.get("connected")) is leads


@pytest.mark.parametrize("remote", ["tcp:10.0.0.1:6641", "ssl:10.0.0.1:6641"])
def test_only_the_local_server_is_asked(remote: str) -> None:
    with pytest.raises(ConfigError, match="must be the local server's socket"):
        leader.socket_path(remote)


async def test_a_pod_must_be_named() -> None:
    with pytest.raises(ConfigError, match="POD_NAME and POD_NAMESPACE"):
        await leader.label("unix:/x", "unix:/x", "/x", namespace="", pod="")


class Labelled:
    """Pods of ovn-central, one per member, and what is written on them."""

    def __init__(self, api: ApiServer, members: Members, namespace: str) -> None:
        self.api, self.members, self.namespace = api, members, namespace
        self.clients: list[Client] = []

    def path(self, number: int) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/central{number}"

    def labels(self, number: int) -> dict[str, str]:
        pod = json.loads(self.api.request("GET", self.path(number)))
        return {k: v for k, v in pod["metadata"].get("labels", {}).items() if k in LABELS}

    def true(self, label: str) -> list[int]:
        return [n for n in self.members.numbers if self.labels(n).get(label) == "true"]

    @asynccontextmanager
    async def labelling(self) -> AsyncIterator[None]:
        """`ovnloom leader` of each member, as long as the block lasts."""
        async with AsyncExitStack() as stack:
            tasks = []
            for number in self.members.numbers:
                pod = {"metadata": {"name": f"central{number}"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
                self.api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", pod)
                folder = f"unix:{self.members.box.path(f'/tmp/run{number}')}"
                client = await stack.enter_async_context(Client.load(str(self.api.kubeconfig)))
                self.clients.append(client)
                sockets = [f"{folder}/{name}" for name in ("ovnnb_db.sock", "ovnsb_db.sock", "ovn-northd.ctl")]
                tasks.append(asyncio.create_task(leader.keep(client, *sockets, namespace=self.namespace, pod=f"central{number}")))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def writes(self) -> int:
        return sum(client.writes for client in self.clients)


async def eventually(condition: Callable[[], object], patience: float = 30.0) -> None:
    async with asyncio.timeout(patience):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # the API server is asked from outside
            await asyncio.sleep(0.1)


@pytest.fixture
def labelled(apiserver: ApiServer, box: Box, tmp_path: Path, request: pytest.FixtureRequest) -> Labelled:
    numbers = request.param
    members = Members(box, tmp_path / "log", numbers)
    members.start(*numbers)
    members.wait_ready(*numbers)
    name = f"leader-{len(numbers)}-{tmp_path.name[-20:].strip('-_0').replace('_', '-')}"
    return Labelled(apiserver, members, apiserver.namespace(name))


@pytest.mark.ovn
@pytest.mark.parametrize("labelled", [(1,)], indirect=True)
async def test_a_single_member_leads_everything(labelled: Labelled) -> None:
    async with labelled.labelling():
        await eventually(lambda: labelled.labels(1) == dict.fromkeys(LABELS, "true"))
        labelled.members.box.run("kill", "-STOP", northd := labelled.members.box.run("cat", "/tmp/run1/ovn-northd.pid"))
        await eventually(lambda: labelled.labels(1) == {leader.NB: "true", leader.SB: "true", leader.NORTHD: "false"})
        labelled.members.box.run("kill", "-CONT", northd)
        await eventually(lambda: labelled.labels(1) == dict.fromkeys(LABELS, "true"))
        labelled.members.end(1)
        await eventually(lambda: labelled.labels(1) == dict.fromkeys(LABELS, "false"))


@pytest.mark.ovn
@pytest.mark.parametrize("labelled", [(1, 2, 3)], indirect=True)
async def test_one_of_three_leads_and_another_after_it(labelled: Labelled) -> None:
    members = labelled.members
    async with labelled.labelling():
        await eventually(lambda: all(len(labelled.true(label)) == 1 for label in LABELS))
        first = labelled.true(leader.NB)[0]
        assert first == members.leader()
        written = labelled.writes()
        await asyncio.sleep(2.5 * leader.NORTHD_INTERVAL)
        assert labelled.writes() == written  # nothing changed, nothing is written
        await asyncio.to_thread(members.end, first)
        await eventually(lambda: len(labelled.true(leader.NB)) == 1 and labelled.true(leader.NB) != [first])
        assert labelled.true(leader.NB) == [members.leader()]
        await eventually(lambda: all(len(labelled.true(label)) == 1 for label in LABELS))
