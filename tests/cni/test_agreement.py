"""Both plugins do the same on any input: hypothesis looks for one on which they differ, or on which the C one breaks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ovnloom.cni import shim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cni.conftest import Agent, Plugin

HERE = "HERE"  # stands for the agent's path
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([HERE, "kube-ovn", "1.1.0", "x" * 107])
)
names = st.sampled_from(["server_socket", "type", "ipam", "cniVersion", "a", "é"])


def rendered(members: list[tuple[str, str]]) -> str:
    """An object's text; a dict could not hold one name twice."""
    return "{" + ",".join(f"{json.dumps(name)} : {value}" for name, value in members) + "}"


values = st.recursive(
    st.builds(json.dumps, scalars, ensure_ascii=st.booleans()),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda texts: "[" + " , ".join(texts) + "]")
        | st.lists(st.tuples(names, inner), max_size=4).map(rendered)
    ),
    max_leaves=12,
)
configs = st.lists(st.tuples(names, values), max_size=6).map(rendered)


@st.composite
def spoiled(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """A text with a few places cut out, doubled or overwritten."""
    data = draw(texts)
    for _ in range(draw(st.integers(0, 2))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 3))
        data = (
            data[:at]
            + draw(st.binary(max_size=3) | st.sampled_from([b'"', b"\\u", b"\\ud83d", b"{", b"]", b"\r\n", b",", data[at : at + 9]]))
            + data[at + length :]
        )
    return data


@pytest.fixture(scope="module", params=["c", "c with sanitizers"])
def native(request: pytest.FixtureRequest, plugins: Callable[[str], Plugin]) -> Plugin:
    return request.getfixturevalue("sanitized") if request.param == "c with sanitizers" else plugins("c")


@pytest.fixture(scope="module")
def twin(plugins: Callable[[str], Plugin]) -> Plugin:
    return plugins("python")


@pytest.fixture(scope="module")
def listener(agents: Callable[[], Agent]) -> Agent:
    return agents()


def agree(native: Plugin, twin: Plugin, agent: Agent, stdin: bytes, env: dict[str, str]) -> None:
    agent.requests.clear()
    one = native("STATUS", stdin, env)
    requests = agent.requests[:]
    agent.requests.clear()
    assert twin("STATUS", stdin, env) == one
    assert agent.requests == requests
    assert one.status in (0, 1)


@fuzz
@given(spoiled(configs.map(lambda text: text.encode("utf-8", "surrogatepass"))) | st.binary())
@example(b'{"server_socket":"\\ud83d\\ude00"}')
@example(b'{"server_socket":"\\ud83d\\u00"}')
@example(b'{"cniVersion":"0.3.0\\u0000","type":"\x7f"}')
def test_any_stdin(native: Plugin, twin: Plugin, listener: Agent, stdin: bytes) -> None:
    listener.reply(b"{}")
    agree(native, twin, listener, stdin.replace(HERE.encode(), listener.path.encode()), {})


environments = st.dictionaries(
    st.binary(max_size=6).map(lambda b: os.fsdecode(b"CNI_" + b.replace(b"\0", b"").replace(b"=", b""))),
    (st.binary(max_size=12) | st.text(max_size=12).map(str.encode)).map(lambda b: os.fsdecode(b.replace(b"\0", b""))),
    max_size=4,
)


@fuzz
@given(environments)
def test_any_variables(native: Plugin, twin: Plugin, listener: Agent, env: dict[str, str]) -> None:
    listener.reply(b"{}")
    env.pop("CNI_COMMAND", None)
    agree(native, twin, listener, listener.config(), env)


bodies = st.sampled_from([b"", b"{}", b'{"code": 7}', b"[1]", b'{"a":"\xff"}', b"text"])
statuses = st.sampled_from([b"200 OK", b"204 No Content", b"201", b"299 x", b"400 Bad", b"500", b"599 ", b"600", b"100 Continue", b"2oo"])
plain = st.builds(lambda s, b: b"HTTP/1.1 %b\r\nA: b\r\nContent-Length: %d\r\n\r\n%b" % (s, len(b), b), statuses, bodies)
closing = st.builds(lambda s, b: b"HTTP/1.0 %b\r\n\r\n%b" % (s, b), statuses, bodies)
chunked = st.builds(
    lambda s, bs: (
        b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (s, b"".join(b"%x;e\r\n%b\r\n" % (len(b), b) for b in bs if b))
    ),
    statuses,
    st.lists(bodies, max_size=3),
)


@fuzz
@given(spoiled(plain | closing | chunked) | st.binary(), st.integers(0, 100))
def test_any_answer(native: Plugin, twin: Plugin, listener: Agent, answer: bytes, cut: int) -> None:
    listener.answer = [answer[:cut], answer[cut:]]
    agree(native, twin, listener, listener.config(), {})


@settings(max_examples=500, deadline=None)
@given(spoiled(configs.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_the_twin_reads_what_python_reads(data: bytes) -> None:
    def refuse(name: str) -> object:
        raise ValueError(name)

    try:
        expected = json.loads(data.decode(), parse_constant=refuse)
    except ValueError:
        expected = None
    read = shim.decode(data)
    assert (read is not None) == isinstance(expected, dict)
    if read is not None:
        assert list(read) == list(expected)
        assert read.get("type") == expected.get("type") or not isinstance(expected["type"], str)
