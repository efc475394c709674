"""Sets of addresses of one family as sorted, disjoint ranges of numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ovnloom.core import net


class Ranges:
    """An immutable set of numbers, kept as inclusive ranges that neither touch nor overlap. Membership is O(log ranges)."""

    __slots__ = ("_firsts", "_lasts", "count")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """*ranges* may come in any order, overlap and be empty (first > last)."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if first > last:
                continue
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)
        self.count = sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        """How many ranges, not how many numbers: see ``count``."""
        return len(self._firsts)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self._firsts[index], self._lasts[index]

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # a mutable list inside: never a key

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges([*self, *other])

    def __sub__(self, other: Ranges) -> Ranges:
        kept: list[tuple[int, int]] = []
        holes = list(other)
        at = 0
        for first, last in self:
            while at < len(holes) and holes[at][1] < first:
                at += 1
            hole = at
            while hole < len(holes) and holes[hole][0] <= last:
                kept.append((first, holes[hole][0] - 1))
                first = holes[hole][1] + 1
                hole += 1
            kept.append((first, last))
        return Ranges(kept)

    def __and__(self, other: Ranges) -> Ranges:
        return self - (self - other)

    def text(self, version: int) -> str:
        """``10.0.0.2-10.0.0.9,10.0.0.12``: how status fields spell ranges."""
        return ",".join(
            net.text(version, first) if first == last else f"{net.text(version, first)}-{net.text(version, last)}" for first, last in self
        )


def of_numbers(numbers: Iterable[int]) -> Ranges:
    runs: list[tuple[int, int]] = []
    first = last = -2
    for number in sorted(numbers):
        if number > last + 1:
            runs.append((first, last))
            first = number
        last = number
    return Ranges([*runs[1:], (first, last)]) if runs else Ranges()


def of_entries(entries: Iterable[str], *, lenient: bool = False) -> dict[int, Ranges]:
    """Addresses, ranges ``a..b`` and CIDR blocks, by IP version.

    Raises ValueError if an entry cannot be read; *lenient* passes it over.
    """
    found: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for entry in entries:
        try:
            span = net.span(entry)
        except ValueError:
            if lenient:
                continue
            raise
        found[span.version].append((span.first, span.last))
    return {version: Ranges(ranges) for version, ranges in found.items()}
