"""A session against a real ovsdb-server: load, commit, and that an answer never comes before the news it brings."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ovnloom.core.desired.model import RowKey, Slot
from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.ops import Delete, Mutate, Ref, Update
from ovnloom.core.ovn.replica import Place
from ovnloom.core.ovn.rows import Before, Row
from ovnloom.core.ovn.schema import row_uuid
from ovnloom.core.ovn.session import Session, Status
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import ROUTER, SWITCH, commit, content, done, make, port, port_uuid, until, with_switch
from tests.functional.ovn_server import Ovn

pytestmark = pytest.mark.ovn


async def test_what_others_wrote_before_is_loaded(nb: Ovn, connect: Open) -> None:
    nb.nbctl("ls-add", "s", "--", "lsp-add", "s", "p", "--", "lsp-set-addresses", "p", "0a:00:00:00:00:01 10.0.0.1")
    session = await connect(nb.remote("nb"))
    uuid = session.replica.by_key(RowKey("Logical_Switch_Port", "p"))
    assert uuid and session.connected
    row = session.replica.get("Logical_Switch_Port", uuid)
    assert row and row["addresses"] == {"0a:00:00:00:00:01 10.0.0.1"} and row["type"] == "" and row["options"] == {}
    (parent,) = session.replica.parents("Logical_Switch_Port", uuid)
    assert parent == Place("Logical_Switch", session.replica.by_key(SWITCH) or "", "ports")


async def test_only_tables_asked_for_are_replicated(nb: Ovn, connect: Open) -> None:
    nb.nbctl("ls-add", "s", "--", "lr-add", "r")
    session = await connect(nb.remote("nb"), tables=("Logical_Switch",))
    assert len(session.replica) == 1
    with pytest.raises(KeyError):
        session.replica.table("Logical_Router")


async def test_volatile_columns_are_not_replicated(nb: Ovn, session: Session) -> None:
    await with_switch(session)
    await done(session, *port("p"))
    heard: list[str] = []
    session.replica.listen(lambda table, *_: heard.append(table))
    nb.nbctl("set", "logical_switch_port", "p", "up=true")
    await done(session, *port("q"))  # after it in the server's order
    assert "up" not in session.replica.columns("Logical_Switch_Port")
    heard.remove("NB_Global")  # ovn-nbctl makes that row
    assert sorted(heard) == ["Logical_Switch", "Logical_Switch_Port"]


async def test_an_answer_comes_after_the_news_it_brings(session: Session) -> None:
    await with_switch(session)
    for number in range(2000):
        name = f"p{number}"
        await done(session, *port(name))
        assert session.replica.by_key(RowKey("Logical_Switch_Port", name)) == port_uuid(name)
        assert session.replica.contains("Logical_Switch", row_uuid(SWITCH), "ports", port_uuid(name))
    assert session.requests == 2001


async def test_nothing_is_sent_for_nothing(session: Session) -> None:
    assert (await session.transact([])).status is Status.DONE
    assert await session.commit([]) == []
    result = await commit(session, Update("Logical_Switch", row_uuid(SWITCH), {}), Mutate("Logical_Switch", row_uuid(SWITCH), "ports"))
    assert result.outcome is Outcome.COMMITTED
    assert session.requests == 0


async def test_answers_carry_the_servers_results(session: Session) -> None:
    answer = await session.transact(
        [{"op": "insert", "table": "Logical_Switch", "row": {"name": "x"}}, {"op": "select", "table": "Logical_Switch", "where": []}]
    )
    assert answer.status is Status.DONE and [row["name"] for row in answer.results[1]["rows"]] == ["x"]


async def test_every_operation(nb: Ovn, session: Session) -> None:
    await with_switch(session)
    switch = row_uuid(SWITCH)
    await done(session, *port("p", addresses=("a", "b"), tag=7, options={"k": "1", "gone": "x"}, enabled=True))
    row = session.replica.get("Logical_Switch_Port", port_uuid("p"))
    assert row and row["addresses"] == {"a", "b"} and row["tag"] == {7} and row["enabled"] == {True}
    await done(
        session,
        Update("Logical_Switch_Port", port_uuid("p"), {"tag": 8, "enabled": (), "type": "localnet"}),
        Mutate("Logical_Switch_Port", port_uuid("p"), "addresses", insert=("c",), delete=("a",)),
        Mutate("Logical_Switch_Port", port_uuid("p"), "options", insert={"k": "2", "new": "y"}, delete=("gone", "k")),
    )
    assert row["addresses"] == {"b", "c"} and row["tag"] == {8} and row["enabled"] == set() and row["type"] == "localnet"
    assert row["options"] == {"k": "2", "new": "y"}
    await done(
        session, Mutate("Logical_Switch_Port", port_uuid("p"), "options", insert=(("new", "z"),), delete=(("new", "y"), ("k", "no")))
    )
    assert row["options"] == {"k": "2", "new": "z"}
    assert nb.nbctl("get", "logical_switch_port", "p", "options", "addresses", "tag").split("\n")[:3] == ['{k="2", new=z}', "[b, c]", "8"]
    await done(session, Mutate("Logical_Switch", switch, "ports", delete=(Ref(port_uuid("p")),)))
    assert session.replica.get("Logical_Switch_Port", port_uuid("p")) is None
    await done(session, Delete("Logical_Switch", switch))
    assert not session.replica.table("Logical_Switch") and session.replica.by_key(SWITCH) is None


async def test_listeners_hear_old_and_new(session: Session) -> None:
    heard: list[tuple[str, object, object, frozenset[object]]] = []

    def listener(table: str, uuid: str, old: Row | None, new: Row | None) -> None:
        touched = old.touched("ports") if isinstance(old, Before) else frozenset()
        heard.append((table, old and set(old["ports"]) if table == "Logical_Switch" else old, new, touched))

    await with_switch(session)
    await done(session, *port("p"))
    session.replica.listen(listener)
    await done(session, *port("q"))
    switch = next(entry for entry in heard if entry[0] == "Logical_Switch")
    assert switch[1] == {port_uuid("p")} and switch[3] == {port_uuid("q")}
    heard.clear()
    await done(session, Delete("Logical_Switch", row_uuid(SWITCH)))
    ended = {table: old for table, old, new, _ in heard if new is None}
    assert ended.keys() == {"Logical_Switch", "Logical_Switch_Port"}


async def test_keys_of_children_follow_their_parents(session: Session) -> None:
    policy = {"priority": 31000, "match": "ip4.dst == 10.0.0.0/16", "action": "allow", "external_ids": {"ovnloom": "subnet/1"}}
    await done(session, *make("Logical_Router", {"name": "r"}), *make("Logical_Router_Policy", policy, Slot(ROUTER, "policies")))
    key = RowKey("Logical_Router_Policy", "r|31000|ip4.dst == 10.0.0.0/16")
    assert session.replica.by_key(key) == row_uuid(key)
    assert list(session.replica.owned("subnet/1")) == [("Logical_Router_Policy", row_uuid(key), "subnet/1")]
    await done(session, Update("Logical_Router", row_uuid(ROUTER), {"name": "other"}))
    assert session.replica.by_key(key) is None
    assert session.replica.key_of("Logical_Router_Policy", row_uuid(key)) == RowKey(key.table, "other" + key.key[1:])


async def test_a_row_moves_between_parents_with_two_mutates(session: Session) -> None:
    await with_switch(session)
    await done(session, *make("Logical_Switch", {"name": "t"}), *port("p"))
    other = row_uuid(RowKey("Logical_Switch", "t"))
    moves = [Mutate("Logical_Switch", row_uuid(SWITCH), "ports", delete=(Ref(port_uuid("p")),))]
    moves += [Mutate("Logical_Switch", other, "ports", insert=(Ref(port_uuid("p")),))]
    await done(session, *moves)
    assert session.replica.parents("Logical_Switch_Port", port_uuid("p")) == (Place("Logical_Switch", other, "ports"),)


async def test_two_rows_of_one_key(nb: Ovn, session: Session) -> None:
    nb.nbctl("--add-duplicate", "ls-add", "s", "--", "--add-duplicate", "ls-add", "s")
    await done(session, *make("Logical_Switch", {"name": "later"}))
    first, second = session.replica.all_by_key(SWITCH)
    await done(session, Delete("Logical_Switch", first))
    assert session.replica.by_key(SWITCH) == second and session.replica.all_by_key(SWITCH) == (second,)


async def test_text_survives_the_wire(session: Session) -> None:
    """Characters of several bytes, quotes, JSON in text, in a message long enough to be cut on its way."""
    await with_switch(session)
    texts = {f"k{n}": '}{"id":null} „Größe“ 網路 \\ \n 🕸' * 50 for n in range(400)}
    await done(session, Mutate("Logical_Switch", row_uuid(SWITCH), "external_ids", insert=texts))
    row = session.replica.get("Logical_Switch", row_uuid(SWITCH))
    assert row and row["external_ids"] == texts


async def test_ten_thousand_ports(nb: Ovn, connect: Open, session: Session) -> None:
    await with_switch(session)
    for start in range(0, 10_000, 1000):
        ports = (port(f"p{n}", addresses=(f"0a:00:00:00:00:00 10.0.{n >> 8}.{n & 255}",)) for n in range(start, start + 1000))
        await done(session, *(op for ops in ports for op in ops))
    assert session.requests == 11
    other = await connect(nb.remote("nb"))
    assert content(other) == content(session)
    gc.collect()


async def test_a_cancelled_callers_answer_goes_to_nobody_else(nb: Ovn, session: Session) -> None:
    await with_switch(session)
    nb.freeze("nb")
    gone = asyncio.create_task(commit(session, *port("p")))
    await until(lambda: session.requests == 2)
    gone.cancel()
    other = asyncio.create_task(commit(session, *port("q", tag=70_000)))
    await asyncio.sleep(0.1)
    nb.thaw("nb")
    assert (await other).outcome is Outcome.REJECTED
    assert gone.cancelled()
    assert session.replica.by_key(RowKey("Logical_Switch_Port", "p")) == port_uuid("p")
