"""Range sets are sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovnloom.core.ipam.ranges import Ranges, of_entries, of_numbers

PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def numbers(pieces: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in pieces for number in range(first, last + 1)}


@given(PIECES, PIECES)
def test_algebra(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    for made, expected in (
        (Ranges(a), numbers(a)),
        (Ranges(a) - Ranges(b), numbers(a) - numbers(b)),
        (Ranges(a) & Ranges(b), numbers(a) & numbers(b)),
    ):
        assert numbers(list(made)) == expected
        assert made.count == len(expected)
        assert [number for number in range(32) if number in made] == sorted(expected)
        assert all(made[i][1] + 1 < made[i + 1][0] for i in range(len(made) - 1))


@given(st.lists(st.integers(0, 30)))
def test_numbers(listed: list[int]) -> None:
    assert of_numbers(listed) == Ranges((number, number) for number in listed)


def test_text() -> None:
    found = of_entries(["10.0.0.2..10.0.0.4", "10.0.0.5", "10.0.0.8/31", "10.0.0.12", "fd00::1"])
    assert found[4].text(4) == "10.0.0.2-10.0.0.5,10.0.0.8-10.0.0.9,10.0.0.12"
    assert found[6].text(6) == "fd00::1"


@pytest.mark.parametrize("entry", ["x", "10.0.0.5..10.0.0.1", "10.0.0.1..fd00::1", "10.0.0.0/33", ""])
def test_what_cannot_be_read_is_refused_or_passed_over(entry: str) -> None:
    with pytest.raises(ValueError):
        of_entries(["10.0.0.1", entry])
    assert of_entries(["10.0.0.1", entry], lenient=True)[4].count == 1
