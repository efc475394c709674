"""Who holds the database's lock writes; who was robbed of it does not, and does not rob back."""

from __future__ import annotations

import asyncio

import pytest

from ovnloom.core.desired.model import RowKey
from ovnloom.core.ovn.batcher import Outcome
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import SWITCH, commit, done, make, until
from tests.functional.ovn_server import Ovn

pytestmark = pytest.mark.ovn


async def test_nothing_is_written_before_the_lock_is_taken(nb: Ovn, connect: Open) -> None:
    session = await connect(nb.remote("nb"), lock="ovnloom")
    assert not session.locked
    assert (await commit(session, *make("Logical_Switch", {"name": "s"}))).outcome is Outcome.NOT_LOCKED
    assert session.requests == 0
    await session.take_lock()
    await session.usable()
    await done(session, *make("Logical_Switch", {"name": "s"}))


async def test_a_thief_silences_the_old_leader(nb: Ovn, connect: Open) -> None:
    old, new = [await connect(nb.remote("nb"), lock="ovnloom") for _ in range(2)]
    heard: list[bool] = []
    old.on_lock(heard.append)
    await old.take_lock()
    await new.take_lock()
    await until(lambda: not old.locked)
    assert heard == [True, False]
    assert (await commit(old, *make("Logical_Switch", {"name": "s"}))).outcome is Outcome.NOT_LOCKED
    await done(new, *make("Logical_Switch", {"name": "t"}))
    assert [row["name"] for row in new.replica.table("Logical_Switch").values()] == ["t"]


async def test_the_server_refuses_who_does_not_know_yet(nb: Ovn, connect: Open) -> None:
    """The theft and the old leader's commit cross: the assertion in the transaction decides."""
    old, new = [await connect(nb.remote("nb"), lock="ovnloom") for _ in range(2)]
    await old.take_lock()
    results = []
    for number in range(20):
        theft = asyncio.create_task(new.take_lock())
        outcome = (await commit(old, *make("Logical_Switch", {"name": f"s{number}"}))).outcome
        await theft
        results.append(outcome)
        await done(new, *make("Logical_Router", {"name": f"r{number}"}))  # after it in the server's order
        present = new.replica.by_key(RowKey("Logical_Switch", f"s{number}")) is not None
        assert present is (outcome is Outcome.COMMITTED)
        await until(lambda: not old.locked)
        await old.take_lock()
        await until(lambda: not new.locked)
    assert set(results) <= {Outcome.COMMITTED, Outcome.NOT_LOCKED}


async def test_the_lock_does_not_come_back_by_itself(nb: Ovn, connect: Open) -> None:
    old, new = [await connect(nb.remote("nb"), lock="ovnloom") for _ in range(2)]
    await old.take_lock()
    await new.take_lock()
    await until(lambda: not old.locked)
    await new.stop()
    third = await connect(nb.remote("nb"))
    await done(third, *make("Logical_Switch", {"name": "s"}))
    await until(lambda: old.replica.by_key(SWITCH) is not None)
    assert not old.locked
    await old.take_lock()
    await done(old, *make("Logical_Switch", {"name": "t"}))


async def test_a_dropped_lock(nb: Ovn, connect: Open) -> None:
    session = await connect(nb.remote("nb"), lock="ovnloom")
    await session.take_lock()
    await session.drop_lock()
    assert not session.locked
    assert (await commit(session, *make("Logical_Switch", {"name": "s"}))).outcome is Outcome.NOT_LOCKED


@pytest.mark.parametrize("entitled", [True, False])
async def test_after_a_lost_connection_only_who_is_entitled_takes_it_again(nb: Ovn, connect: Open, entitled: bool) -> None:
    leading = [True]
    session = await connect(nb.remote("nb"), lock="ovnloom", entitled=lambda: leading[0])
    await session.take_lock()
    leading[0] = entitled
    resynced = asyncio.Event()
    session.on_resync(resynced.set)
    await asyncio.to_thread(nb.end, "nb")
    await asyncio.to_thread(nb.serve, "nb")
    async with asyncio.timeout(20):
        await resynced.wait()
    assert session.locked is entitled
    outcome = (await commit(session, *make("Logical_Switch", {"name": "s"}))).outcome
    assert outcome is (Outcome.COMMITTED if entitled else Outcome.NOT_LOCKED)
