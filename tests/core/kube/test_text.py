from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from ovnloom.core.kube.events import clean


@given(st.text(st.characters(), max_size=2000), st.integers(8, 1024))
def test_any_text_becomes_one_visible_line_that_fits(text: str, most: int) -> None:
    cleaned = clean(text, most)
    assert len(cleaned.encode()) <= most
    assert not [c for c in cleaned if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert cleaned == cleaned.strip()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=200))
def test_harmless_text_stays(text: str) -> None:
    assert clean(text) == text


def test_what_was_cut_shows_it() -> None:
    assert clean("a" * 2000) == "a" * 1021 + "…"
    assert clean("line one\nline two\t\x00") == "line one line two"
