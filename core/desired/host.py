"""What plugins say the node's kernel and its switch should look like. Values only: the agent merges, compares and applies.

A value names one thing of the node (``key``); two plugins that say different things about one key contradict each other.
What is left out is left alone, but for what only we can have made: addresses and routes of links that are named here,
rules in our own nftables table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

NODE_LINK = "ovn0"  # the node's own port of the integration bridge
BRIDGE = "br-int"  # the integration bridge: pods and ``ovn0`` are its ports


@dataclass(frozen=True, slots=True)
class Link:
    """A network device that something else makes (an ``OvsPort``, the system). *mtu* 0: what the tunnels leave room for.

    *checksum* is transmit checksum offload. ``None``: off if the switch's datapath is in userspace, where nobody would fill
    them in, else left as it is.
    """

    name: str
    mac: str = ""
    mtu: int = 0
    up: bool = True
    checksum: bool | None = None

    @property
    def key(self) -> str:
        return f"link {self.name}"


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix length (``10.0.0.2/16``), without duplicate address detection. The link's others go."""

    link: str
    address: str

    @property
    def key(self) -> str:
        return f"address {self.link} {self.address}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. Without *gateway* the destination is on the link. *source*: preferred source address."""

    destination: str
    link: str
    gateway: str = ""
    source: str = ""

    @property
    def key(self) -> str:
        return f"route {self.destination} {self.link}"


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting: its path below ``/proc/sys`` (``net/ipv4/ip_forward``) and its value."""

    path: str
    value: str

    @property
    def key(self) -> str:
        return f"sysctl {self.path}"


@dataclass(frozen=True, slots=True)
class NftSet:
    """Networks of one family (4 or 6) that rules of our nftables table name as ``@name``; said by several, they are united."""

    name: str
    family: int
    networks: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        return f"nft set {self.name}"


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule of our nftables table, in nft's own words. *chain* is one of ``CHAINS``; the lower *priority* comes first."""

    chain: str
    priority: int
    text: str

    @property
    def key(self) -> str:
        return f"nft rule {self.chain} {self.priority} {self.text}"


# The base chains of our nftables table.
CHAINS: Mapping[str, str] = {
    "prerouting": "type nat hook prerouting priority dstnat",
    "postrouting": "type nat hook postrouting priority srcnat",
    "forward": "type filter hook forward priority filter",
}


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A port of a bridge with one interface. *mac* ``""``: the switch chooses. Of *external_ids* only these keys are ours."""

    bridge: str
    name: str
    type: str = "internal"
    mac: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"ovs port {self.name}"


@dataclass(frozen=True, slots=True)
class OpenVSwitch:
    """One key of ``external_ids`` of the local switch, where ovn-controller reads its settings."""

    external_id: str
    value: str

    @property
    def key(self) -> str:
        return f"open_vswitch external_ids:{self.external_id}"


HostState: TypeAlias = Link | Address | Route | Sysctl | NftSet | NftRule | OvsPort | OpenVSwitch


@dataclass(frozen=True, slots=True)
class Conflict:
    """*plugin* said something about *key* that *owner* had said otherwise; *owner*'s word stays."""

    key: str
    owner: str
    plugin: str

    def __str__(self) -> str:
        return f"{self.plugin} and {self.owner} want different things of {self.key}; {self.owner} came first and stays"


def merge(contributions: Iterable[tuple[str, Iterable[HostState]]]) -> tuple[dict[str, HostState], list[Conflict]]:
    """What all plugins want, by key, from (plugin, values) in the order of the plugins. Sets are united."""
    merged: dict[str, HostState] = {}
    owners: dict[str, str] = {}
    conflicts: list[Conflict] = []
    for plugin, values in contributions:
        for value in values:
            held = merged.get(value.key)
            if isinstance(held, NftSet) and isinstance(value, NftSet) and held.family == value.family:
                merged[value.key] = NftSet(held.name, held.family, held.networks | value.networks)
            elif held is None:
                merged[value.key], owners[value.key] = value, plugin
            elif held != value:
                conflicts.append(Conflict(value.key, owners[value.key], plugin))
    return merged, conflicts
