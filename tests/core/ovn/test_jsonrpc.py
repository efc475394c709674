"""Messages cut and glued in any way come out whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnloom.core.ovn import jsonrpc
from ovnloom.core.ovn.jsonrpc import BadMessage, Frames

TEXT = st.text(alphabet=st.one_of(st.sampled_from('{}[]"\\,:é網🕸 \n\u2028'), st.characters(exclude_categories=["Cs"])), max_size=20)
VALUES: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=10,
)
MESSAGES = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=6)


def _fed(data: bytes, cuts: list[int]) -> list[Any]:
    frames, found = Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        frames.feed(data[start:end])
        while (message := frames.next()) is not None:
            found.append(message)
    return found


@settings(deadline=None)
@given(MESSAGES, st.data(), st.booleans())
def test_any_cut(messages: list[Any], data: st.DataObject, escaped: bool) -> None:
    stream = "".join(json.dumps(message, ensure_ascii=escaped) for message in messages).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    assert _fed(stream, cuts) == messages


@settings(deadline=None)
@given(MESSAGES)
def test_byte_by_byte(messages: list[Any]) -> None:
    stream = "".join(json.dumps(message, ensure_ascii=False) for message in messages).encode()
    assert _fed(stream, list(range(1, len(stream)))) == messages


def test_a_long_message_in_many_pieces_with_short_ones_around() -> None:
    long = {"rows": [{"name": f"é{n}", "map": ["map", [["}", "{"]]]} for n in range(4_000)]}
    stream = b"".join(json.dumps(message, ensure_ascii=False).encode() for message in ({"a": 1}, long, {"b": 2}, long, {"c": 3}))
    cuts = list(range(1021, len(stream), 1021))
    assert _fed(stream, cuts) == [{"a": 1}, long, {"b": 2}, long, {"c": 3}]


def test_a_long_message_is_not_decoded_at_every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    real = jsonrpc._first

    def counted(data: memoryview) -> tuple[int, Any]:
        tried.append(len(data))
        return real(data)

    monkeypatch.setattr(jsonrpc, "_first", counted)
    stream = json.dumps({"text": "x" * 4_000_000}).encode()
    assert _fed(stream, list(range(4096, len(stream), 4096))) == [json.loads(stream)]
    assert sum(tried) < 4 * len(stream)


@pytest.mark.parametrize("data", [b'{"a": nonsense}', b'{"a": "\xff\xfe"}', b'{"a": 1]', b"\x16\x03\x01\x02\x00\x01\x00\x01"])
def test_what_is_no_json(data: bytes) -> None:
    frames = Frames()
    frames.feed(data)
    with pytest.raises(BadMessage):
        frames.next()


def test_a_number_cut_in_two_is_not_wrong() -> None:
    assert _fed(b'{"a":-1.5e3}', [6, 8, 9, 10]) == [{"a": -1500.0}]
