"""Evaluates the matches of ACLs (ovn-sb(5), "Expressions") on a packet, apart from the code that writes them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

TOKEN = re.compile(r"\s*(&&|\|\||==|!=|<=|[(){},]|[@$]?[\w.:/]+)")


@dataclass(frozen=True)
class Packet:
    src: str
    dst: str
    protocol: str  # tcp, udp, sctp
    port: int
    inport: str = ""
    outport: str = ""


@dataclass(frozen=True)
class Names:
    """What ``$name`` and ``@name`` stand for."""

    sets: Mapping[str, frozenset[str]]
    groups: Mapping[str, frozenset[str]]


Test = Callable[[Packet, Names], bool]


class Parser:
    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)
        assert "".join(self.tokens) == re.sub(r"\s", "", text), f"cannot read {text!r}"
        self.at = 0

    def whole(self) -> Test:
        test = self.any_of()
        assert self.at == len(self.tokens), self.tokens[self.at :]
        return test

    def next(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def peek(self) -> str:
        return str(self.tokens[self.at]) if self.at < len(self.tokens) else ""

    def any_of(self) -> Test:
        parts, operators = [self.one()], set()
        while self.peek() in ("&&", "||"):
            operators.add(self.next())
            parts.append(self.one())
        assert len(operators) <= 1, "&& and || need parentheses between them"
        if operators == {"||"}:
            return lambda p, n: any(part(p, n) for part in parts)
        return lambda p, n: all(part(p, n) for part in parts)

    def one(self) -> Test:
        if self.peek() == "(":
            self.next()
            test = self.any_of()
            assert self.next() == ")"
            return test
        word = self.next()
        if word.isdigit():
            assert self.next() == "<="
            field = self.next()
            assert self.next() == "<="
            most = int(self.next())
            return lambda p, n: field.split(".")[0] == p.protocol and int(word) <= p.port <= most
        if self.peek() not in ("==", "!="):
            return _flag(word)
        equal = self.next() == "=="
        values = self.values()
        if word in ("inport", "outport"):
            assert equal and values[0][0] == "@"
            return lambda p, n: getattr(p, word) in n.groups[values[0][1:]]
        field, _, which = word.partition(".")
        if field in ("ip4", "ip6"):
            return lambda p, n: _is(field, getattr(p, which)) and (_member(getattr(p, which), values, n) == equal)
        assert which == "dst" and equal
        return lambda p, n: p.protocol == field and str(p.port) in values

    def values(self) -> list[str]:
        if self.peek() != "{":
            return [self.next()]
        self.next()
        found = [self.next()]
        while self.next() == ",":
            found.append(self.next())
        return found


def _flag(word: str) -> Test:
    if word == "ip":
        return lambda p, n: True
    if word in ("ip4", "ip6"):
        return lambda p, n: _is(word, p.src)
    assert word in ("tcp", "udp", "sctp"), word
    return lambda p, n: p.protocol == word


def _is(family: str, address: str) -> bool:
    return (":" in address) == (family == "ip6")


def _member(address: str, values: list[str], names: Names) -> bool:
    return any(address in names.sets[v[1:]] if v[0] == "$" else _within(address, v) for v in values)


@cache
def _within(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


@cache
def parse(text: str) -> Test:
    return Parser(text).whole()
