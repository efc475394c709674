"""One transaction for many units, and the fault of one is not paid by the others."""

from __future__ import annotations

import pytest

from ovnloom.core.desired.model import RowKey, Slot
from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Ref, Update
from ovnloom.core.ovn.schema import row_uuid
from ovnloom.core.ovn.session import Session
from tests.functional.ovn.words import SWITCH, done, make, port, port_uuid, unit, with_switch

pytestmark = pytest.mark.ovn

OK, BAD = Outcome.COMMITTED, Outcome.REJECTED


def _there(session: Session, *names: str) -> set[str]:
    return {name for name in names if session.replica.by_key(RowKey("Logical_Switch_Port", name))}


async def test_a_hundred_units_are_one_request(session: Session) -> None:
    await with_switch(session)
    before = session.requests
    results = await session.commit([unit(f"p{n}", *port(f"p{n}")) for n in range(100)])
    assert {result.outcome for result in results} == {OK}
    assert session.requests == before + 1


async def test_a_duplicate_name_is_charged_to_who_brings_it(session: Session) -> None:
    await with_switch(session)
    await done(session, *port("taken"))
    units = [unit(f"p{n}", *port(f"p{n}")) for n in range(16)]
    other = "00000000-0000-4000-8000-000000000001"
    again = Insert("Logical_Switch_Port", other, {"name": "taken"}), Mutate(SWITCH.table, row_uuid(SWITCH), "ports", insert=(Ref(other),))
    units[11] = unit("p11", *again)
    before = session.requests
    results = await session.commit(units)
    assert [result.outcome for result in results] == [OK] * 11 + [BAD] + [OK] * 4
    assert "constraint violation" in results[11].reason and "taken" in results[11].reason
    assert _there(session, *(f"p{n}" for n in range(16))) == {f"p{n}" for n in range(16) if n != 11}
    assert session.requests - before <= 9  # 1 and 2 for each of 4 halvings


async def test_a_bad_value_is_charged_without_a_search(session: Session) -> None:
    await with_switch(session)
    units = [unit(f"p{n}", *port(f"p{n}", **({"tag": 70_000} if n == 5 else {}))) for n in range(16)]
    before = session.requests
    results = await session.commit(units)
    assert [result.outcome for result in results] == [OK] * 5 + [BAD] + [OK] * 10
    assert "70000" in results[5].reason
    assert session.requests == before + 2


async def test_a_column_the_server_lacks_is_never_sent(session: Session) -> None:
    await with_switch(session)
    units = [
        unit("good", *port("good")),
        unit("bad", *port("bad", colour="blue")),
        unit("worse", *make("Logical_Switch", {"name": ("a", "b")})),
    ]
    before = session.requests
    good, bad, worse = await session.commit(units)
    assert (good.outcome, bad.outcome, worse.outcome) == (OK, BAD, BAD)
    assert "no column 'colour'" in bad.reason and "exactly one value" in worse.reason
    assert session.requests == before + 1


async def test_a_unit_falls_as_a_whole(session: Session) -> None:
    await with_switch(session)
    both = unit("both", *port("first"), *port("second", tag=70_000))
    (result,) = await session.commit([both])
    assert result.outcome is BAD and _there(session, "first", "second") == set()


async def test_a_child_that_is_named_before_its_parent_is_not_charged(session: Session) -> None:
    """Parted by the search, the parent's unit has to come first."""
    await done(session, *make("Logical_Switch_Port", {"name": "taken"}), *make("Logical_Switch", {"name": "x"}))
    await with_switch(session)
    router = RowKey("Logical_Router", "r")
    policy = {"priority": 1, "match": "ip4", "action": "allow"}
    dangling = Mutate(SWITCH.table, row_uuid(SWITCH), "ports", insert=(Ref("00000000-0000-4000-8000-00000000dead"),))
    units = [
        unit("child", *make("Logical_Router_Policy", policy, Slot(router, "policies"))),
        unit("bad", dangling),
        unit("group", *make("Port_Group", {"name": "g", "ports": (Ref(port_uuid("p")),)})),
        unit("parent", *make("Logical_Router", {"name": "r"})),
        unit("port", *port("p")),
    ]
    results = await session.commit(units)
    assert [result.outcome for result in results] == [OK, BAD, OK, OK, OK]
    assert "referential integrity violation" in results[1].reason
    assert session.replica.by_key(RowKey("Logical_Router_Policy", "r|1|ip4"))
    group = session.replica.by_key(RowKey("Port_Group", "g"))
    assert group and session.replica.contains("Port_Group", group, "ports", port_uuid("p"))


async def test_a_change_of_a_row_that_is_gone_is_not_called_done(session: Session) -> None:
    """The server says yes to a change that finds nothing, and drops the child that nobody then holds."""
    await with_switch(session)
    await done(session, *port("p"))
    late = unit("late", Update("Logical_Switch_Port", port_uuid("gone"), {"type": "router"}))
    policy = {"priority": 1, "match": "", "action": "allow"}
    orphan = unit("orphan", *make("Logical_Router_Policy", policy, Slot(RowKey("Logical_Router", "r"), "policies")))
    results = await session.commit([unit("good", *port("good")), late, orphan, unit("q", *port("q"))])
    assert [result.outcome for result in results] == [OK, Outcome.AGAIN, Outcome.AGAIN, OK]
    (gone,) = await session.commit([unit("gone", Delete("Logical_Switch_Port", port_uuid("gone")))])
    assert gone.outcome is OK


async def test_a_child_may_be_named_before_its_parent(session: Session) -> None:
    """The server goes through a transaction in order: a change must not meet a row that a later operation makes."""
    policy = {"priority": 1, "match": "ip4", "action": "allow"}
    child = unit("child", *make("Logical_Router_Policy", policy, Slot(RowKey("Logical_Router", "r"), "policies")))
    results = await session.commit([child, unit("parent", *make("Logical_Router", {"name": "r"}))])
    assert [result.outcome for result in results] == [OK, OK] and session.requests == 1
    assert session.replica.by_key(RowKey("Logical_Router_Policy", "r|1|ip4"))


async def test_many_culprits(session: Session) -> None:
    await with_switch(session)
    wrong = {3, 4, 17, 30}
    columns = {n: {"name": f"p{n}"} for n in range(32)}
    gone = Ref("00000000-0000-4000-8000-00000000dead")
    units = [
        unit(f"p{n}", *port(**columns[n]), *([Mutate(SWITCH.table, row_uuid(SWITCH), "acls", insert=(gone,))] if n in wrong else []))
        for n in range(32)
    ]
    results = await session.commit(units)
    assert {n for n, result in enumerate(results) if result.outcome is BAD} == wrong
    assert len(_there(session, *(f"p{n}" for n in range(32)))) == 28
    (update,) = await session.commit([unit("u", Update("Logical_Switch_Port", port_uuid("p0"), {"type": "router"}))])
    assert update.outcome is OK
