"""What a session writes means to OVN what it should: ovn-northd compiles it, ovn-trace follows a packet through it."""

from __future__ import annotations

import pytest

from ovnloom.core.desired.model import RowKey, Slot
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import SWITCH, done, make, port, with_switch
from tests.functional.ovn_server import Ovn

pytestmark = pytest.mark.ovn

A, B = "0a:00:00:00:00:01", "0a:00:00:00:00:02"


async def test_a_packet_reaches_the_other_port_until_an_acl_drops_it(ovn: Ovn, connect: Open) -> None:
    ovn.northd()
    session = await connect(ovn.remote("nb"))
    await with_switch(session)
    await done(session, *port("a", addresses=(f"{A} 10.0.0.1",)), *port("b", addresses=(f"{B} 10.0.0.2",)))
    packet = f'inport == "a" && eth.src == {A} && eth.dst == {B} && ip4 && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && ip.ttl == 64'
    ovn.nbctl("--wait=sb", "sync")
    assert 'output to "b"' in ovn.trace("--minimal", "s", packet) or 'output("b")' in ovn.trace("--minimal", "s", packet)
    acl = {"direction": "to-lport", "priority": 1000, "match": 'outport == "b" && ip4', "action": "drop"}
    await done(session, *make("ACL", acl, Slot(SWITCH, "acls")))
    ovn.nbctl("--wait=sb", "sync")
    assert 'output("b")' not in ovn.trace("--minimal", "s", packet)
    assert session.replica.by_key(RowKey("ACL", 'Logical_Switch/s|to-lport|0|1000|outport == "b" && ip4'))
