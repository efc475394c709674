"""Servers that go, come back, lose their data or their lead: the replica ends as the server is, and no answer is a guess."""

from __future__ import annotations

import asyncio
import signal

import pytest

from ovnloom.core.desired.model import RowKey
from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.connection import Idl
from ovnloom.core.ovn.rows import Row
from ovnloom.core.ovn.session import Session
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import SWITCH, commit, content, done, make, port, port_uuid, until, with_switch
from tests.functional.ovn_server import Ovn

pytestmark = pytest.mark.ovn


def _resync(session: Session) -> asyncio.Event:
    event = asyncio.Event()
    session.on_resync(event.set)
    return event


async def test_a_session_waits_for_its_server(nb: Ovn, connect: Open) -> None:
    await asyncio.to_thread(nb.end, "nb")
    starting = asyncio.create_task(connect(nb.remote("nb")))
    await asyncio.sleep(0.2)
    assert not starting.done()
    await asyncio.to_thread(nb.serve, "nb")
    async with asyncio.timeout(20):
        session = await starting
    await with_switch(session)


async def test_a_restarted_server_is_loaded_again(nb: Ovn, session: Session) -> None:
    await with_switch(session)
    await done(session, *port("stays"), *port("goes"), *port("changes"))
    heard: list[tuple[str, str, bool, bool]] = []

    def listener(table: str, uuid: str, old: Row | None, new: Row | None) -> None:
        heard.append((table, uuid, old is not None, new is not None))

    session.replica.listen(listener)
    resynced = _resync(session)
    await asyncio.to_thread(nb.end, "nb")
    await asyncio.to_thread(nb.run, "ovsdb-tool", "transact", f"{nb.home}/nb.db", _OFFLINE)
    await asyncio.to_thread(nb.serve, "nb")
    async with asyncio.timeout(20):
        await resynced.wait()
    assert {name for name in ("stays", "goes", "changes", "comes") if session.replica.by_key(RowKey("Logical_Switch_Port", name))} == {
        "stays",
        "changes",
        "comes",
    }
    ports = {uuid: (old, new) for table, uuid, old, new in heard if table == "Logical_Switch_Port"}
    assert ports.pop(port_uuid("goes")) == (True, False)
    assert ports.pop(port_uuid("changes")) == (True, True)
    assert list(ports.values()) == [(False, True)]
    await done(session, *port("after"))


_OFFLINE = """["OVN_Northbound",
  {"op": "insert", "table": "Logical_Switch_Port", "row": {"name": "comes"}, "uuid-name": "new"},
  {"op": "mutate", "table": "Logical_Switch", "where": [], "mutations": [["ports", "insert", ["named-uuid", "new"]]]},
  {"op": "mutate", "table": "Logical_Switch", "where": [], "mutations": [["ports", "delete", ["uuid", "GOES"]]]},
  {"op": "update", "table": "Logical_Switch_Port", "where": [["name", "==", "changes"]], "row": {"type": "localnet"}}]""".replace(
    "GOES", port_uuid("goes")
)


async def test_a_lost_connection_answers_again(nb: Ovn, session: Session) -> None:
    """The server is frozen with the transaction in its socket, then killed: nobody knows, so the answer must not claim to."""
    await with_switch(session)
    nb.freeze("nb")
    task = asyncio.create_task(commit(session, *port("p")))
    await asyncio.sleep(0.3)
    assert not task.done() and session.requests == 2
    await asyncio.to_thread(nb.end, "nb", signal.SIGKILL)
    await asyncio.sleep(0.3)
    assert not task.done()  # it waits for a replica to compare with
    await asyncio.to_thread(nb.serve, "nb")
    async with asyncio.timeout(20):
        result = await task
    assert result.outcome is Outcome.AGAIN
    assert session.connected and session.replica.by_key(SWITCH)
    assert session.replica.by_key(RowKey("Logical_Switch_Port", "p")) is None
    await done(session, *port("p"))


async def test_a_commit_without_a_server_answers_again(nb: Ovn, session: Session) -> None:
    await asyncio.to_thread(nb.end, "nb")
    await until(lambda: not session.connected)
    task = asyncio.create_task(commit(session, *make("Logical_Switch", {"name": "s"})))
    await asyncio.to_thread(nb.serve, "nb")
    async with asyncio.timeout(20):
        assert (await task).outcome is Outcome.AGAIN
    assert session.requests == 0


async def test_stop_ends_who_waits(nb: Ovn, session: Session) -> None:
    nb.freeze("nb")
    task = asyncio.create_task(commit(session, *make("Logical_Switch", {"name": "s"})))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(5):
        await session.stop()
        assert (await task).outcome is Outcome.AGAIN


async def test_a_replica_that_does_not_fit_is_loaded_again(session: Session) -> None:
    await with_switch(session)
    await done(session, *port("p"))
    resynced = _resync(session)
    before = content(session)
    session.replica.apply({"Logical_Switch_Port": {port_uuid("p"): {"delete": None}}})  # the server knows nothing of it
    session._update({"Logical_Switch_Port": {port_uuid("p"): {"modify": {"type": "router"}}}})
    assert not session.connected
    async with asyncio.timeout(20):
        await resynced.wait()
    assert content(session) == before


async def test_the_lead_moves(cluster: Ovn, connect: Open) -> None:
    names = ("n1", "n2", "n3")
    session = await connect(cluster.remote(*names), lock="ovnloom")
    await session.take_lock()
    await with_switch(session)
    leader = await asyncio.to_thread(cluster.leader, *names)
    resynced = _resync(session)
    await asyncio.to_thread(cluster.end, leader, signal.SIGKILL)
    async with asyncio.timeout(60):
        while (result := await commit(session, *port("p"))).outcome is not Outcome.COMMITTED:
            assert result.outcome in (Outcome.AGAIN, Outcome.NOT_LOCKED), result.reason
            await session.usable()
        await resynced.wait()
    assert session.replica.contains("Logical_Switch", session.replica.by_key(SWITCH) or "", "ports", port_uuid("p"))
    survivors = tuple(name for name in names if name != leader)
    follower = await connect(cluster.remote(*survivors), leader_only=False)
    await until(lambda: content(follower) == content(session))


async def test_reconnecting_to_a_cluster_continues_from_its_history(cluster: Ovn, connect: Open) -> None:
    """Only what was missed is sent; the replica must take it as a change and not as everything."""
    session = await connect(cluster.remote("n1", "n2", "n3"))
    await with_switch(session)
    await done(session, *port("p"))
    resynced = _resync(session)
    loads: list[object] = []
    load = session.replica.load
    session.replica.load = lambda updates: (loads.append(updates), load(updates))[1]  # type: ignore[method-assign,func-returns-value]
    await session._do(Idl.force_reconnect)
    async with asyncio.timeout(30):
        await resynced.wait()
    assert loads == []
    await done(session, *port("q"))
    assert session.replica.by_key(RowKey("Logical_Switch_Port", "p"))
