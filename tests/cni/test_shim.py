"""The wire contract of cni/README.md, asked of both plugins."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from ovnloom.cni.build import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cni.conftest import Agent, Plugin

RESULT = b'{"cniVersion": "1.0.0", "ips": [{"address": "10.16.0.9/16"}]}\n'
ERROR = b'{"cniVersion":"1.0.0","code":7,"msg":"unknown subnet","details":""}'
LIMIT = 1 << 20
DEEPEST = b'{"a":' + b"[" * 99 + b"0" + b"]" * 99 + b"}"


def http(body: bytes, status: str = "200 OK") -> list[bytes]:
    return [b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status.encode(), len(body)), body]


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", *(b"%X\r\n%b\r\n" % (len(p), p) for p in pieces), end]


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_one_request_carries_configuration_and_variables_unchanged(plugin: Plugin, agent: Agent, command: str) -> None:
    agent.answer = http(RESULT)
    config = b" \n" + agent.config(text='ä"\\', n=1.50) + b"\r\n\t"
    variables = {"CNI_ARGS": 'K8S_POD_NAME=p;"\\\n\x01ä', "CNI_NETNS": "", "CNI_OTHER": "="}
    ran = plugin(command, config, {**variables, "PATH": "/bin", "CNIX": "1"})
    assert (ran.status, ran.out, ran.err) == (0, RESULT, b"")
    [(head, body)] = agent.requests
    assert head.split(b"\r\n") == [
        b"POST /api/v1/%b HTTP/1.1" % command.lower().encode(), b"Host: kube-ovn-cni", b"Content-Type: application/json",
        b"Connection: close", b"Content-Length: %d" % len(body), b"", b"",
    ]  # fmt: skip
    assert body.endswith(b', "config": ' + config + b"}")
    assert json.loads(body)["env"] == variables | {"CNI_COMMAND": command}
    assert b'"CNI_ARGS": "K8S_POD_NAME=p;\\"\\\\\\u000a\\u0001\xc3\xa4"' in body


@pytest.mark.parametrize(
    ("answer", "status", "out"),
    [
        (http(RESULT), 0, RESULT),
        ([b"".join(http(RESULT))], 0, RESULT),
        ([bytes([b]) for b in b"".join(http(RESULT))], 0, RESULT),
        (http(b""), 0, b""),
        ([*http(RESULT), b"more than it said"], 0, RESULT),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 0, b""),
        ([b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n", RESULT[:5], RESULT[5:]], 0, RESULT),
        (http(ERROR, "500 Internal Server Error"), 1, ERROR),
        (http(ERROR, "400"), 1, ERROR),
        (chunks(RESULT), 0, RESULT),
        (chunks(RESULT[:1], RESULT[1:30], RESULT[30:]), 0, RESULT),
        (chunks(RESULT, end=b"000;last=1\r\nX: y\r\n\r\n"), 0, RESULT),
        (chunks(b"x" * (LIMIT - 100)), 0, b"x" * (LIMIT - 100)),
    ],
)
def test_the_answer_is_printed_unchanged(plugin: Plugin, agent: Agent, answer: list[bytes], status: int, out: bytes) -> None:
    agent.answer = answer
    ran = plugin("ADD", agent.config())
    assert (ran.status, ran.out, ran.err) == (status, out, b"")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "it closed the connection before its answer was complete"),
        (http(RESULT)[:1], "it closed the connection"),
        (chunks(RESULT, end=b""), "it closed the connection"),
        (chunks(RESULT, end=b"0\r\n"), "it closed the connection"),
        (chunks(RESULT, end=b"x\r\n\r\n"), "not understood"),
        (chunks(RESULT, end=b"\r\n\r\n"), "not understood"),
        (chunks(RESULT, end=b"11111111\r\n\r\n"), "not understood"),
        (chunks(end=b"1\r\nabc0\r\n\r\n"), "not understood"),
        ([b"SSH-2.0-x\r\n\r\n"], "not understood"),
        ([b"HTTP/1.1 301 Moved\r\n\r\n"], "not understood"),
        ([b"HTTP/1.1 2000 OK\r\n\r\n"], "not understood"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], "not understood"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], "not understood"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"], "not understood"),
        (http(b"404: Not Found", "404 Not Found"), "an error that is not a CNI error"),
        (http(b"", "503 Service Unavailable"), "an error that is not a CNI error"),
        (http(b"x" * (LIMIT + 1)), "larger than 1 MiB"),
    ],
)
def test_an_answer_that_is_none_is_an_error_to_try_again(plugin: Plugin, agent: Agent, answer: list[bytes], reason: str) -> None:
    agent.answer = answer
    error = plugin("ADD", agent.config(cniVersion="0.4.0")).error
    assert (error["cniVersion"], error["code"]) == ("0.4.0", 11)
    assert error["msg"] == f"the agent of this node does not answer at {agent.path}"
    assert reason in error["details"]
    assert "kubectl -n kube-system get pods -l app=kube-ovn-cni" in error["details"]


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
def test_an_agent_that_is_down(plugin: Plugin, tmp_path: Path, command: str, code: int) -> None:
    absent, dead = tmp_path / "absent.sock", tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    for path, reason in [(absent, "there is no such socket"), (dead, "nobody listens on it"), (dead / "x", "error number 20")]:
        error = plugin(command, json.dumps({"cniVersion": "1.1.0", "server_socket": str(path)}).encode()).error
        assert (error["cniVersion"], error["code"]) == ("1.1.0", code)
        assert str(path) in error["msg"]
        assert error["details"].startswith(reason + "; look at: ")


def test_an_agent_that_closes_unread(plugin: Plugin, agent: Agent) -> None:
    agent.read_first = False
    assert "it closed the connection" in plugin("ADD", agent.config(pad="x" * 900_000)).error["details"]
    agent.answer = http(ERROR, "413 Too Large")
    assert plugin("ADD", agent.config()).out == ERROR


@pytest.mark.parametrize(("command", "seconds"), [("ADD", 220), ("DEL", 60), ("CHECK", 30), ("GC", 30), ("STATUS", 30)])
def test_a_silent_agent_is_left_after_the_time_limit(hasty: Plugin, agent: Agent, command: str, seconds: int) -> None:
    agent.answer = None
    assert hasty(command, agent.config()).error["details"].startswith(f"no answer within {seconds} s; look at: ")


def test_a_full_backlog_counts_as_silence(hasty: Plugin, tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        error = hasty("STATUS", json.dumps({"server_socket": path}).encode()).error
    assert error["details"].startswith("no answer within 30 s")


def test_version_needs_no_agent_and_no_configuration(plugin: Plugin) -> None:
    ran = plugin("VERSION", b"")
    assert (ran.status, ran.err) == (0, b"")
    assert json.loads(ran.out) == {"cniVersion": "1.1.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]}


def test_a_reader_that_is_gone(plugin: Plugin) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(plugin.argv, env={"CNI_COMMAND": "VERSION"}, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_without_a_command_it_says_how_it_is_used(plugin: Plugin) -> None:
    ran = plugin(None)
    assert (ran.status, ran.out) == (1, b"")
    assert b"CNI_COMMAND" in ran.err


@pytest.mark.parametrize("command", ["", "add", "UPDATE", '"\n'])
def test_an_unknown_command(plugin: Plugin, command: str) -> None:
    error = plugin(command, b'{"cniVersion":"0.3.1"}').error
    assert (error["cniVersion"], error["code"]) == ("0.3.1", 4)
    assert error["msg"].endswith(f"not {command}")


@pytest.mark.parametrize(("name", "shown"), [("CNI_IFNAME", "CNI_IFNAME"), ("CNI_\udcff", "CNI_...")])
def test_a_variable_that_is_not_utf8(plugin: Plugin, name: str, shown: str) -> None:
    error = plugin("ADD", env={name: os.fsdecode(b"eth\xed\xa0\x80")}).error
    assert (error["code"], error["msg"]) == (4, f"not UTF-8: the environment variable {shown}")


@pytest.mark.parametrize(
    "stdin",
    [
        *(
            b"",
            b" ",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"{}{}",
            b"{} x",
            b"\xef\xbb\xbf{}",
            b"{,}",
            b"{'a':1}",
            b"{1:2}",
            b"{}\0",
            b"{\0}",
            b"{\x0b}",
        ),
        *(b'{"a":\xff}', b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\x80"}', b'{"a":"\xf4\x90\x80\x80"}', b'{"a":"\xe2\x82"}'),
        *(b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+1}', b'{"a":1e}', b'{"a":-}'),
        *(b'{"a":"\n"}', b'{"a":"\x1f"}', b'{"a":"\\x"}', b'{"a":"\\u12g4"}', b'{"a":"\\u12"}', b'{"a":"\\', b'{"a":tru}', b'{"a":truex}'),
        *(b'{"a":1,}', b'{"a":[1,]}', b'{"a" 1}', b'{"a":1 "b":2}'),
        *(
            b'{"a":' + DEEPEST + b"}",
            b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
            b'{"a":[' + DEEPEST + b'],"a":1}',
            b"[" * 200_000,
            b'{"a":' * 200_000,
        ),
    ],
)
def test_stdin_that_is_not_one_json_object(plugin: Plugin, stdin: bytes) -> None:
    error = plugin("ADD", stdin).error
    assert (error["cniVersion"], error["code"], error["msg"]) == ("1.0.0", 6, "failed to decode content")


def test_limits_of_the_configuration(plugin: Plugin, agent: Agent) -> None:
    agent.answer = http(RESULT)
    for config in (agent.config(deep=json.loads(DEEPEST)["a"]), agent.config(digits=0).replace(b"0}", b"9" * 5000 + b"e-99999}")):
        assert plugin("ADD", config).out == RESULT
    largest = agent.config(pad="").replace(b'"pad": ""', b'"pad": "%b"' % (b"x" * (LIMIT - len(agent.config(pad="")))))
    assert len(largest) == LIMIT
    assert plugin("ADD", largest).out == RESULT
    assert agent.requests[-1][1].endswith(largest + b"}")
    assert plugin("ADD", largest + b" ").error["code"] == 6


SOCKETS = {
    '{"server_socket": HERE}': True,
    '{"type": "kube-ovn", "server_socket": HERE, "ipam": {"server_socket": "/x"}}': True,
    '{"type": "macvlan", "server_socket": "/x", "ipam": {"type": "kube-ovn", "server_socket": HERE}}': True,
    '{"ipam": {"server_socket": HERE}, "type": "macvlan"}': True,
    '{"type": 5, "ipam": {"server_socket": HERE}}': True,
    '{"type": null, "server_socket": HERE}': True,
    '{"server_socket": 5, "server_socket": HERE}': True,
    '{"type": "macvlan", "ipam": {"server_socket": "/x"}, "ipam": {"server_socket": HERE}}': True,
    '{"type": "macvlan", "type": "kube-ovn", "server_socket": HERE}': True,
    '{"server\\u005fsocket": HERE}': True,
    '{"list": [{"server_socket": "/x"}], "server_socket": HERE, "o": {"server_socket": "/x", "ipam": {}}}': True,
    '{"type": "macvlan", "server_socket": HERE}': False,
    '{"type": "macvlan", "ipam": {"server_socket": HERE}, "ipam": {}}': False,
    '{"type": "macvlan", "ipam": {"server_socket": HERE}, "ipam": null}': False,
    '{"type": "macvlan", "ipam": [{"server_socket": HERE}]}': False,
    '{"type": "macvlan", "ipam": {"ipam": {"server_socket": HERE}}}': False,
    '{"server_socket": HERE, "server_socket": null}': False,
    '{"server_socket": HERE, "server_socket": ""}': False,
    '{"Server_Socket": HERE, "server_socket\\u00e9": HERE, "server_socket\\u0000": HERE}': False,
}


@pytest.mark.parametrize(("config", "found"), SOCKETS.items())
def test_where_the_socket_is_named(plugin: Plugin, agent: Agent, config: str, found: bool) -> None:
    agent.answer = http(b"")
    escaped = '"' + "".join(f"\\u{ord(c):04X}" if c in "/s" else c for c in agent.path) + '"'
    ran = plugin("STATUS", config.replace("HERE", escaped).encode())
    assert len(agent.requests) == found
    if not found and ran.status:
        assert "/run/openvswitch/kube-ovn-daemon.sock" in ran.error["msg"]


@pytest.mark.parametrize("path", [5, True, [], {}, "/" * 108, "/run/\0x", "/run/ä", "/run/\ud800"])
def test_a_socket_that_cannot_be_one(plugin: Plugin, path: object) -> None:
    error = plugin("DEL", json.dumps({"cniVersion": "1.0.0", "server_socket": path}).encode()).error
    assert error["code"] == 7
    assert "server_socket must be" in error["details"]


@pytest.mark.parametrize("version", [5, "", "1.0.0-rc\n", "1" * 17, "\u0661", None, {}])
def test_a_version_that_is_none_is_not_repeated(plugin: Plugin, version: object) -> None:
    assert plugin("X", json.dumps({"cniVersion": version}).encode()).error["cniVersion"] == "1.0.0"


async def test_aiohttp_as_the_agent_uses_it(plugin: Plugin, tmp_path: Path) -> None:
    async def add(request: web.Request) -> web.Response:
        return web.json_response({"size": len(json.dumps(await request.json()))})

    async def gone(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(ERROR[:9])
        await response.write(ERROR[9:])
        return response

    app = web.Application(client_max_size=1 << 22)
    app.add_routes([web.post("/api/v1/add", add), web.post("/api/v1/del", gone)])
    runner = web.AppRunner(app)
    await runner.setup()
    path = str(tmp_path / "agent.sock")
    await web.UnixSite(runner, path).start()
    config = json.dumps({"server_socket": path, "pad": "x" * 1_048_000}).encode()
    try:
        ran = await asyncio.to_thread(plugin, "ADD", config)
        assert (ran.status, ran.out) == (0, b'{"size": %d}' % (len(config) + len('{"env": {"CNI_COMMAND": "ADD"}, "config": }')))
        ran = await asyncio.to_thread(plugin, "DEL", config)
        assert (ran.status, ran.out) == (1, ERROR)
    finally:
        await runner.cleanup()


def test_the_twin_imports_nothing_slow() -> None:
    probe = f"import sys; exec(open({str(SOURCE.with_name('shim.py'))!r}).read(), {{'__name__': 'shim'}}); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-ISE", "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert not {"os", "re", "json", "enum", "signal", "socket", "contextlib", "typing", "subprocess"} & set(modules)


def test_a_bug_in_the_twin_is_a_cni_error_too(changed_twin: Callable[[str], Plugin]) -> None:
    error = changed_twin("None")("ADD").error
    assert error["code"] == 999
    assert error["details"].startswith("TypeError: ")
