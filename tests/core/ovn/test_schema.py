from __future__ import annotations

from uuid import UUID

import pytest

from ovnloom.core.desired.model import RowKey
from ovnloom.core.ovn.schema import SLOTS, TABLES, derived_mac, natural_key, row_uuid

ROUTER = RowKey("Logical_Router", "ovn-cluster")


@pytest.mark.parametrize(
    ("table", "columns", "parent", "key"),
    [
        ("Logical_Switch", {"name": "join"}, None, "join"),
        ("Logical_Switch_Port", {"name": "p.d"}, RowKey("Logical_Switch", "s"), "p.d"),
        (
            "Logical_Router_Policy",
            {"priority": 31000, "match": "ip4.dst == 10.16.0.0/16"},
            ROUTER,
            "ovn-cluster|31000|ip4.dst == 10.16.0.0/16",
        ),
        (
            "Logical_Router_Static_Route",
            {"policy": "src-ip", "ip_prefix": "10.0.0.0/8", "nexthop": "10.0.0.1", "route_table": "t"},
            ROUTER,
            "ovn-cluster|t|src-ip|10.0.0.0/8|10.0.0.1",
        ),
        (
            "Logical_Router_Static_Route",
            {"ip_prefix": "0.0.0.0/0", "nexthop": "100.64.0.1"},
            ROUTER,
            "ovn-cluster||dst-ip|0.0.0.0/0|100.64.0.1",
        ),
        (
            "ACL",
            {"direction": "to-lport", "priority": 2000, "tier": 2, "match": "ip"},
            RowKey("Port_Group", "np.d"),
            "Port_Group/np.d|to-lport|2|2000|ip",
        ),
        ("ACL", {"direction": "to-lport", "match": "ip"}, RowKey("Logical_Switch", "s"), "Logical_Switch/s|to-lport|0|0|ip"),
        ("BFD", {"logical_port": "lrp", "dst_ip": "1.2.3.4"}, None, "lrp|1.2.3.4"),
        ("DHCP_Options", {"cidr": "10.16.0.0/16", "external_ids": {"ls": "s", "protocol": "IPv4"}}, None, "s||10.16.0.0/16"),
        ("NB_Global", {}, None, "."),
    ],
)
def test_natural_keys(table: str, columns: dict[str, object], parent: RowKey | None, key: str) -> None:
    assert natural_key(table, columns, parent) == key  # type: ignore[arg-type]  # a plain dict of what the rows say


def test_a_desired_value_and_a_replicated_one_make_the_same_key() -> None:
    """The server gives an optional value as a set of one, and leaves defaults out."""
    said = {"policy": "dst-ip", "ip_prefix": "::/0", "nexthop": "fd00::1", "route_table": ""}
    held = {"policy": {"dst-ip"}, "ip_prefix": "::/0", "nexthop": "fd00::1"}
    table = "Logical_Router_Static_Route"
    assert natural_key(table, said, ROUTER) == natural_key(table, held, ROUTER)  # type: ignore[arg-type]
    assert natural_key("QoS", {"priority": 0, "direction": "to-lport"}, ROUTER) == natural_key("QoS", {"direction": "to-lport"}, ROUTER)


def test_what_lives_only_in_a_parent_needs_one() -> None:
    with pytest.raises(ValueError, match=r"Logical_Router\.policies"):
        natural_key("Logical_Router_Policy", {"priority": 1, "match": ""}, None)
    with pytest.raises(KeyError, match="Logical_Swich"):
        natural_key("Logical_Swich", {}, None)


def test_uuids_are_the_same_every_time_and_differ_by_cluster() -> None:
    key = RowKey("Logical_Switch", "join")
    assert row_uuid(key) == row_uuid(RowKey("Logical_Switch", "join")) != row_uuid(RowKey("Logical_Router", "join"))
    assert row_uuid(key, UUID(int=1)) != row_uuid(key, UUID(int=2))


def test_derived_macs_are_unicast_and_locally_administered() -> None:
    macs = {derived_mac(f"port {n}") for n in range(1000)}
    assert len(macs) == 1000 and {int(mac[:2], 16) & 3 for mac in macs} == {2}


def test_every_slot_is_declared_from_both_sides() -> None:
    for name, table in TABLES.items():
        for holder in table.held_by:
            assert SLOTS[holder.table][holder.column] == name
            assert holder.column in TABLES[holder.table].children
