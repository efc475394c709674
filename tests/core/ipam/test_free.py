"""The order in which free addresses come, against a plain model of it: two sets."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovnloom.core.ipam.free import FreeList
from ovnloom.core.ipam.ranges import Ranges, of_numbers

NUMBERS = st.integers(0, 14)
SETS = st.sets(NUMBERS)


class Generations(RuleBasedStateMachine):
    """*now* is handed out lowest first; when it is empty the released ones, *later*, take its place."""

    @initialize(whole=st.sets(NUMBERS, min_size=1), held=SETS)
    def start(self, whole: set[int], held: set[int]) -> None:
        self.whole, self.held = whole, dict.fromkeys(held)
        self.now, self.later = whole - held, set[int]()
        self.free = FreeList(of_numbers(whole), self.held.keys())

    @rule(skip=SETS, draws=st.booleans())
    def allocate(self, skip: set[int], draws: bool) -> None:
        candidates = self.now - skip or self.later - skip
        expected = min(candidates, default=None)
        assert self.free.peek(skip) == expected
        if expected is None or not draws:
            return
        if not self.now:
            self.now, self.later = self.later, self.now
        self.free.draw(expected)
        self.enter(expected)

    def enter(self, number: int) -> None:
        self.held[number] = None
        self.now.discard(number)
        self.later.discard(number)

    @precondition(lambda self: self.now | self.later)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.now | self.later)))
        self.free.take(number)
        self.enter(number)

    @precondition(lambda self: self.held.keys() & self.whole)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.held.keys() & self.whole)))
        del self.held[number]
        self.free.give(number)
        self.later.add(number)

    @rule()
    def lay_out_anew(self) -> None:
        """As when a pool is removed: the order stays."""
        self.free = FreeList(of_numbers(self.whole), self.held.keys(), list(self.free.waiting()))

    @invariant()
    def books_add_up(self) -> None:
        if hasattr(self, "free"):
            assert self.free.free == len(self.now) + len(self.later) == len(self.whole - self.held.keys())
            assert set(self.free.waiting()) == self.later


TestGenerations = Generations.TestCase
TestGenerations.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_taking_and_giving_one_address_for_ever_takes_no_memory() -> None:
    held: dict[int, None] = {}
    free = FreeList(Ranges([(1, 2**64)]), held.keys())
    for _ in range(10_000):
        free.take(7)
        held[7] = None
        del held[7]
        free.give(7)
    assert len(free._later._heap) < 100
    assert free.free == 2**64
