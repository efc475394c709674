"""What core knows about the northbound tables: how a row is told from others, what is not ours to compare, who holds whom.

Data only. Types of columns are not here: the server says them when a session opens (``columns.py``).
Source: ovn-nb(5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple
from uuid import NAMESPACE_DNS, UUID, uuid5

from ovnloom.core.desired.model import RowKey, Value

OWNER = "ovnloom"  # the key in external_ids that names a row's owner: <plugin>/<uid of the object>
NAMESPACE = uuid5(NAMESPACE_DNS, "ovnloom.io")


class Holder(NamedTuple):
    """The column of *table* whose elements are the children."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Table:
    """*key*: the columns that tell one row from another. *held_by*: where its rows live, if only as children.

    *by_parent*: the parent's natural key is part of the row's. *several*: parents of more than one table are possible,
    so their table is part of the key as well. *volatile* columns are written by OVN itself: neither read nor compared.
    Of *sticky* ones a value that is there already wins; a new row's is derived from its natural key. *children*: columns
    that hold rows which live only there. *assumed* stands for an empty key column, where OVN reads it so.
    """

    key: tuple[str, ...]
    held_by: tuple[Holder, ...] = ()
    by_parent: bool = False
    several: bool = False
    volatile: frozenset[str] = frozenset()
    sticky: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    children: frozenset[str] = frozenset()
    assumed: Mapping[str, str] | None = None


def derived_mac(text: str) -> str:
    """A MAC address for what *text* names: locally administered, of one interface, the same every time."""
    first, *rest = sha256(text.encode()).digest()[:6]
    return bytes((first & 0xFC | 0x02, *rest)).hex(":")


_BY_NAME = Table(key=("name",))

_DECLARED: Mapping[str, Table] = {
    "NB_Global": Table(
        key=(),
        volatile=frozenset(
            {"nb_cfg", "nb_cfg_timestamp", "sb_cfg", "sb_cfg_timestamp", "hv_cfg", "hv_cfg_timestamp", "connections", "ssl"}
        ),
    ),
    "Logical_Switch": _BY_NAME,
    "Logical_Switch_Port": Table(
        key=("name",), held_by=(Holder("Logical_Switch", "ports"),), volatile=frozenset({"up", "dynamic_addresses"})
    ),
    "Logical_Router": _BY_NAME,
    "Logical_Router_Port": Table(
        key=("name",),
        held_by=(Holder("Logical_Router", "ports"),),
        volatile=frozenset({"status", "ipv6_prefix"}),
        sticky={"mac": derived_mac},
    ),
    "Logical_Router_Policy": Table(key=("priority", "match"), held_by=(Holder("Logical_Router", "policies"),), by_parent=True),
    "Logical_Router_Static_Route": Table(
        key=("route_table", "policy", "ip_prefix", "nexthop"),
        held_by=(Holder("Logical_Router", "static_routes"),),
        by_parent=True,
        assumed={"policy": "dst-ip"},
    ),
    "NAT": Table(
        key=("type", "external_ip", "external_port_range", "logical_ip"), held_by=(Holder("Logical_Router", "nat"),), by_parent=True
    ),
    "Port_Group": _BY_NAME,
    "Address_Set": _BY_NAME,
    "ACL": Table(
        key=("direction", "tier", "priority", "match"),
        held_by=(Holder("Port_Group", "acls"), Holder("Logical_Switch", "acls")),
        by_parent=True,
        several=True,
        assumed={"tier": "0", "priority": "0"},
    ),
    "QoS": Table(
        key=("direction", "priority", "match"),
        held_by=(Holder("Logical_Switch", "qos_rules"),),
        by_parent=True,
        assumed={"priority": "0"},
    ),
    "Load_Balancer": _BY_NAME,
    "Load_Balancer_Group": _BY_NAME,
    "Load_Balancer_Health_Check": Table(key=("vip",), held_by=(Holder("Load_Balancer", "health_check"),), by_parent=True),
    "DHCP_Options": Table(key=("external_ids:ls", "external_ids:port", "cidr")),
    "Meter": _BY_NAME,
    "Meter_Band": Table(key=("action",), held_by=(Holder("Meter", "bands"),), by_parent=True),
    "Gateway_Chassis": Table(key=("name",), held_by=(Holder("Logical_Router_Port", "gateway_chassis"),)),
    "HA_Chassis_Group": _BY_NAME,
    "HA_Chassis": Table(key=("chassis_name",), held_by=(Holder("HA_Chassis_Group", "ha_chassis"),), by_parent=True),
    "BFD": Table(key=("logical_port", "dst_ip"), volatile=frozenset({"status"})),
}

# parent table -> column -> table of the children
SLOTS: Mapping[str, Mapping[str, str]] = {
    parent: {holder.column: name for name, table in _DECLARED.items() for holder in table.held_by if holder.table == parent}
    for parent in _DECLARED
}
TABLES: Mapping[str, Table] = {name: replace(table, children=frozenset(SLOTS[name])) for name, table in _DECLARED.items()}


def table_of(name: str) -> Table:
    """Raises ``KeyError`` for a table that is not declared here."""
    if (table := TABLES.get(name)) is None:
        raise KeyError(f"table {name} is not declared in core/ovn/schema.py")
    return table


def natural_key(table: str, columns: Mapping[str, Value], parent: RowKey | None) -> str:
    """What tells a row of *table* from the others, for a desired row and for one in the database alike.

    Raises ``KeyError`` for a table that core does not know, ``ValueError`` where the parent is part of the key and missing.
    """
    known = table_of(table)
    if not known.by_parent and len(known.key) == 1:
        return _text(columns.get(known.key[0], ""))
    parts = [_part(known, columns, name) for name in known.key]
    if known.by_parent:
        if parent is None:
            raise ValueError(f"a row of {table} lives in {' or '.join('.'.join(h) for h in known.held_by)}: say which one")
        parts.insert(0, str(parent) if known.several else parent.key)
    return "|".join(parts) if parts else "."


def row_uuid(row: RowKey, cluster: UUID = NAMESPACE) -> str:
    """The UUID of a row that we make: known before the row exists, and the same every time."""
    return str(uuid5(cluster, str(row)))


def key_columns(table: str) -> frozenset[str]:
    """The columns that *table*'s natural key is made of."""
    return frozenset(name.partition(":")[0] for name in TABLES[table].key)


def _part(table: Table, columns: Mapping[str, Value], name: str) -> str:
    column, _, key = name.partition(":")
    value = columns.get(column, "")
    if key:
        value = value.get(key, "") if isinstance(value, Mapping) else ""
    return _text(value) or (table.assumed or {}).get(name, "")


def _text(value: Value) -> str:
    match value:
        case str():
            return value
        case RowKey():
            return value.key
        case bool():
            return "true" if value else "false"
        case tuple() | Set():
            return ",".join(sorted(_text(element) for element in value))
        case Mapping():
            return ",".join(f"{key}={value[key]}" for key in sorted(value))
    return str(value)
