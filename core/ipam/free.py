"""What is free, in the order in which it is handed out.

The lowest address comes first. A released address waits for the next generation: it comes back only when nothing else
is free, and then again lowest first. So an address that a peer still has in its ARP cache or its connection table is
not given to another pod at once.

Nothing here is as big as the pool. Behind a cursor every free address is in one of two heaps (this generation's and the
next one's); before the cursor an address is free unless it is held or waits for the next generation. Taking and giving
back are O(log n), amortised.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from heapq import heapify, heappop, heappush

from ovnloom.core.ipam.ranges import Ranges


class _Heap:
    """A set of numbers that knows its lowest. What is discarded stays in the heap until it surfaces or is too much."""

    __slots__ = ("_heap", "members")

    def __init__(self) -> None:
        self._heap: list[int] = []
        self.members: set[int] = set()

    def add(self, number: int) -> None:
        if number not in self.members:
            self.members.add(number)
            heappush(self._heap, number)

    def discard(self, number: int) -> None:
        self.members.discard(number)
        if len(self._heap) > 2 * len(self.members) + 16:
            self._heap = list(self.members)
            heapify(self._heap)

    def lowest(self, skip: Container[int] = ()) -> int | None:
        passed: list[int] = []
        found = None
        while self._heap:
            number = self._heap[0]
            if number in self.members and number not in skip:
                found = number
                break
            heappop(self._heap)
            if number in self.members:
                passed.append(number)
        for number in set(passed):
            heappush(self._heap, number)
        return found


class FreeList:
    """The free addresses of one family in one pool. *held* is the caller's live book of addresses that somebody has."""

    __slots__ = ("_at", "_held", "_later", "_next", "_now", "free", "whole")

    def __init__(self, whole: Ranges, held: Collection[int], waiting: Iterable[int] = ()) -> None:
        """*waiting* are free addresses that belong to the next generation, if they are in *whole*."""
        self.whole = whole
        self._held = held
        self._at = 0
        self._next = whole[0][0] if len(whole) else 0
        self._now = _Heap()
        self._later = _Heap()
        self.free = whole.count - sum(1 for number in held if number in whole)
        for number in waiting:
            if number in whole:
                self._later.add(number)

    def waiting(self) -> Collection[int]:
        """What is free in the next generation only."""
        return self._later.members

    def peek(self, skip: Container[int] = ()) -> int | None:
        """The address that comes next, none of *skip*; None if there is none. Asking changes no order."""
        if (number := self._now.lowest(skip)) is not None:
            return number
        if (number := self._fresh(skip)) is not None:
            return number
        return self._later.lowest(skip)

    def _fresh(self, skip: Container[int]) -> int | None:
        while self._at < len(self.whole):
            _, last = self.whole[self._at]
            while self._next <= last:
                number = self._next
                if number not in self._held and number not in self._later.members:
                    if number not in skip:
                        return number
                    self._now.add(number)
                self._next += 1
            self._at += 1
            if self._at < len(self.whole):
                self._next = self.whole[self._at][0]
        return None

    def draw(self, number: int) -> None:
        """Takes what ``peek`` gave. If this generation is used up (what ``peek`` skipped of it counts) the next one begins."""
        if number in self._later.members and not self._now.members:
            self._now, self._later = self._later, self._now
        self.take(number)

    def take(self, number: int) -> None:
        """Takes a free address of this pool out of turn. The caller then enters it in *held*."""
        self._now.discard(number)
        self._later.discard(number)
        self.free -= 1

    def give(self, number: int) -> None:
        """Takes back an address that is no longer in *held*."""
        self._later.add(number)
        self.free += 1
