"""The books of one address family in one subnet: who holds what, and what is free in which pool."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ovnloom.core import net
from ovnloom.core.ipam.free import FreeList
from ovnloom.core.ipam.ranges import Ranges, of_numbers
from ovnloom.core.kube.objects import Key

DEFAULT_POOL = ""


@dataclass(slots=True, eq=False)
class Holding:
    """What one port holds in one subnet. *numbers* by family are -1 where it has none, *mac* too."""

    port: str
    owner: Key
    uid: str
    v4: int = -1
    v6: int = -1
    mac: int = -1

    def number(self, version: int) -> int:
        return self.v4 if version == 4 else self.v6

    def set_number(self, version: int, number: int) -> None:
        if version == 4:
            self.v4 = number
        else:
            self.v6 = number


class Usage(NamedTuple):
    """Counters are O(1); the texts are made when asked for."""

    available: int
    using: int
    available_ranges: str
    using_ranges: str


class Space:
    """One family's books. Every usable address that is not excluded is in exactly one pool: free there, or held.

    An address may have more than one holder (two ports of a virtual machine that moves between nodes): the first is in
    *held*, those after it in *_sharers*, and it is free when the last one lets go.
    """

    __slots__ = ("_claims", "_firsts", "_lists", "_sharers", "excluded", "gateway", "held", "network", "pools")

    def __init__(self, network: net.Network, gateway: int, excluded: Ranges) -> None:
        self.network = network
        self.gateway = gateway
        self.excluded = excluded
        self.held: dict[int, Holding] = {}
        self._sharers: dict[int, list[Holding]] = {}
        self.pools: dict[str, FreeList] = {}
        self._claims: dict[str, Ranges] = {}
        self._firsts: list[int] = []
        self._lists: list[FreeList] = []

    def laid_out_as(self, other: Space) -> bool:
        return (self.network, self.gateway, self.excluded) == (other.network, other.gateway, other.excluded)

    def arrange(self, named: Mapping[str, Ranges], forget: Collection[str] = ()) -> None:
        """Lays the pools out anew: the *named* ones, and the default pool of all the rest.

        What was released in a pool stays behind what was not, but in the pools to *forget* all that is free is so again,
        lowest first.
        """
        waiting = [number for name, pool in self.pools.items() if name not in forget for number in pool.waiting()]
        rest = Ranges([self.network.usable])
        self._claims = {}
        for name, ranges in named.items():
            self._claims[name] = rest & ranges
            rest = rest - ranges
        self._claims[DEFAULT_POOL] = rest
        parts = {name: claim - self.excluded for name, claim in self._claims.items()}
        self.pools = {name: FreeList(part, self.held.keys(), waiting) for name, part in parts.items()}
        segments = sorted((first, name) for name, part in parts.items() for first, _ in part)
        self._firsts = [first for first, _ in segments]
        self._lists = [self.pools[name] for _, name in segments]

    def _list_of(self, number: int) -> FreeList | None:
        index = bisect_right(self._firsts, number) - 1
        return self._lists[index] if index >= 0 and number in self._lists[index].whole else None

    def usable(self, number: int) -> bool:
        first, last = self.network.usable
        return first <= number <= last

    def next(self, pool: str, skip: Container[int] = ()) -> int | None:
        """The next free address of *pool*; None if there is none, or no such pool."""
        free = self.pools.get(pool)
        return free.peek(skip) if free else None

    def holders(self, number: int) -> list[Holding]:
        first = self.held.get(number)
        return [first, *self._sharers.get(number, ())] if first else []

    def take(self, number: int, holding: Holding, *, drawn: bool = False) -> None:
        """Enters *holding* for an address. *drawn*: it is the one that ``next`` gave."""
        if number in self.held:
            self._sharers.setdefault(number, []).append(holding)
        else:
            free = self._list_of(number)
            if free and drawn:
                free.draw(number)
            elif free:
                free.take(number)
            self.held[number] = holding
        holding.set_number(self.network.version, number)

    def drop(self, holding: Holding) -> None:
        """Takes the address of this family back from *holding*. Nothing happens if it has none."""
        version = self.network.version
        number = holding.number(version)
        if number < 0:
            return
        holding.set_number(version, -1)
        sharers = self._sharers.get(number, [])
        if self.held[number] is holding:
            if sharers:
                self.held[number] = sharers.pop(0)
            else:
                del self.held[number]
                if free := self._list_of(number):
                    free.give(number)
        else:
            sharers.remove(holding)
        if not sharers:
            self._sharers.pop(number, None)

    def move_in(self, holdings: Iterable[Holding]) -> None:
        """Enters holdings that another space had, before ``arrange``."""
        for holding in holdings:
            number = holding.number(self.network.version)
            if number in self.held:
                self._sharers.setdefault(number, []).append(holding)
            else:
                self.held[number] = holding

    def available(self) -> int:
        return sum(pool.free for pool in self.pools.values())

    def held_ranges(self) -> Ranges:
        return of_numbers(self.held)

    def free_ranges(self) -> Ranges:
        return Ranges(piece for pool in self.pools.values() for piece in pool.whole) - self.held_ranges()

    def usage(self) -> Usage:
        version = self.network.version
        held = self.held_ranges()
        return Usage(self.available(), held.count, self.free_ranges().text(version), held.text(version))

    def pool_usage(self, pool: str) -> Usage:
        """Of one pool: excluded addresses that are held count in the pool that names them.

        Raises KeyError if there is no such pool.
        """
        version = self.network.version
        free = self.pools[pool]
        held = self.held_ranges() & self._claims[pool]
        return Usage(free.free, held.count, (free.whole - held).text(version), held.text(version))
