"""Selector sets: the pods that a selector means, as OVN's address sets and port groups. One set for each distinct selector, whoever asks.

Members are kept current here, so who asks never renders again because a pod came or went. A pod meets only the selectors
that are found under its namespace (or a label of that) and one of its labels: thousands that cannot mean it cost it nothing.
What a pod is a member of is said in the pod's own name and so committed together with its port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import msgspec

from ovnloom.core.desired.model import Contribution, Lease, Member, Row, RowKey
from ovnloom.core.kube.kinds import NAMESPACES, PODS, Namespace, Pod
from ovnloom.core.kube.objects import Key, Object, kind_id
from ovnloom.core.kube.selectors import matches
from ovnloom.core.names import pod_port

if TYPE_CHECKING:
    from ovnloom.core.ipam.allocator import Ipam
    from ovnloom.core.kube.cache import Cache

SETS = "sets"  # the kind of the objects in whose name the sets themselves exist, and the voice of members
EVERYWHERE = "*"
NAMESPACE_NAME = "kubernetes.io/metadata.name"  # the label that tells namespaces apart

Say = Callable[[Key, str, tuple[Contribution, ...]], None]


class Wanted(NamedTuple):
    """A set that somebody asks for. Selectors are canonical JSON; *namespaces* empty: only *namespace* itself.

    With *port* (name, protocol) there is a set for each number that its members give the port of that name.
    """

    table: Literal["Address_Set", "Port_Group"]
    namespace: str
    namespaces: str
    pods: str
    port: tuple[str, str] = ("", "")
    name: str = ""

    @property
    def base(self) -> str:
        """The set's name in OVN: letters, digits, dots and underscores only."""
        if self.name:
            return self.name
        digest = sha256("\0".join((self.namespace, self.namespaces, self.pods, *self.port)).encode()).hexdigest()[:20]
        return f"{'as' if self.table == 'Address_Set' else 'pg'}.{digest}"


def wanted(
    table: Literal["Address_Set", "Port_Group"],
    namespace: str,
    namespaces: Mapping[str, Any] | None,
    pods: Mapping[str, Any] | None,
    port: tuple[str, str] = ("", ""),
    name: str = "",
) -> Wanted:
    return Wanted(table, "" if namespaces is not None else namespace, _canonical(namespaces), _canonical(pods or {}), port, name)


class Sets:
    """*say* takes what is desired, *touch* renders the readers of a token."""

    def __init__(self, caches: Mapping[str, Cache[Object]], ipam: Ipam, say: Say, touch: Callable[[tuple[str, ...]], None]) -> None:
        self._caches, self._ipam, self._say, self._touch = caches, ipam, say, touch
        self._asked: dict[Key, tuple[Wanted, ...]] = {}
        self._readers: dict[Wanted, dict[Key, None]] = {}
        self._found: dict[tuple[str, str], dict[Wanted, None]] = defaultdict(dict)
        self._member_of: dict[Key, dict[Wanted, int]] = {}  # pod -> sets, with the number of the named port or 0
        self._members: dict[Wanted, dict[int, int]] = defaultdict(lambda: defaultdict(int))  # how many, by number

    def record(self, reader: Key, asked: Collection[Wanted]) -> None:
        """*reader* now asks for exactly these."""
        before = self._asked.pop(reader, ())
        if asked:
            self._asked[reader] = tuple(asked)
        # ends come first: a set with a name of its own may be asked for by another selector under the same name
        for one in before:
            if one not in asked and one in self._readers:
                self._readers[one].pop(reader, None)
                if not self._readers[one]:
                    del self._readers[one]
                    self._end(one)
        for one in asked:
            if one not in self._readers:
                self._readers[one] = {}
                self._begin(one)
            self._readers[one][reader] = None

    def numbers(self, one: Wanted) -> list[int]:
        """The numbers that pods meant by *one* give the named port. Known before anybody has asked, too."""
        if one in self._readers:
            return sorted(self._members[one])
        return sorted({number for pod, labels in self._candidates(one) if (number := self._number(one, pod, labels))})

    def place(self, key: Key) -> None:
        """Says what the pod *key* is a member of: it came, went, changed, or its addresses did."""
        pod = cast("Pod | None", self._caches[key.kind].by_key(key))
        lease = self._ipam.lease(pod_port(key.namespace, key.name)) if pod else None
        now: dict[Wanted, int] = {}
        if pod and lease and lease.owner == key:
            labels = self._labels(key.namespace)
            for one in self._meeting(pod):
                if (number := self._number(one, pod, labels)) is not None:
                    now[one] = number
        before = self._member_of.get(key, {})
        if now:
            self._member_of[key] = now
        else:
            self._member_of.pop(key, None)
        self._count(before, -1, now)
        self._count(now, 1, before)
        if lease and now:
            self._say(key, SETS, tuple(member for one, number in now.items() for member in _members(one, number, lease)))
        elif before:
            self._say(key, SETS, ())

    def namespace_changed(self, name: str) -> None:
        """Its labels may mean that its pods belong elsewhere."""
        if kind_id(PODS) in self._caches and any(one.namespaces for one in self._readers):
            for pod in self._caches[kind_id(PODS)].in_namespace(name):
                self.place(Key(kind_id(PODS), name, pod.metadata.name))

    def _begin(self, one: Wanted) -> None:
        for place in _places(one):
            self._found[place][one] = None
        if not one.port[0]:
            self._say(Key(SETS, one.table, one.base), SETS, tuple(_rows(one, 0)))
        for pod in [pod for pod, labels in self._candidates(one) if self._number(one, pod, labels) is not None]:
            self.place(Key(kind_id(PODS), pod.metadata.namespace, pod.metadata.name))

    def _end(self, one: Wanted) -> None:
        for place in _places(one):
            self._found[place].pop(one, None)
            if not self._found[place]:
                del self._found[place]
        for key in [key for key, sets in self._member_of.items() if one in sets]:
            self.place(key)
        self._members.pop(one, None)
        self._say(Key(SETS, one.table, one.base), SETS, ())

    def _count(self, sets: Mapping[Wanted, int], step: int, other: Mapping[Wanted, int]) -> None:
        """Keeps the numbers of named ports; readers hear when one comes or goes."""
        for one, number in sets.items():
            if not one.port[0] or other.get(one) == number or one not in self._readers:
                continue
            members = self._members[one]
            members[number] += step
            if members[number] in (0, 1) and (members[number] == 0) == (step < 0):
                if not members[number]:
                    del members[number]
                self._say(Key(SETS, one.table, one.base), SETS, tuple(row for n in sorted(members) for row in _rows(one, n)))
                self._touch(("numbers", one.base))

    def _meeting(self, pod: Pod) -> Iterator[Wanted]:
        """Sets that may mean *pod*, each once."""
        namespace = pod.metadata.namespace
        for scope in (namespace, EVERYWHERE, *(f"{label}={value}" for label, value in self._labels(namespace).items())):
            yield from self._found.get((scope, ""), ())
            for label, value in pod.metadata.labels.items():
                yield from self._found.get((scope, f"{label}={value}"), ())

    def _candidates(self, one: Wanted) -> Iterator[tuple[Pod, Mapping[str, str]]]:
        if kind_id(PODS) not in self._caches:
            return
        cache = self._caches[kind_id(PODS)]
        for pod in cache.in_namespace(one.namespace) if not one.namespaces else cache.all():
            yield cast("Pod", pod), self._labels(pod.metadata.namespace)

    def _number(self, one: Wanted, pod: Pod, labels: Mapping[str, str]) -> int | None:
        """0 for a member (or the number of its named port), ``None`` for a stranger."""
        if one.namespaces:
            if not matches(_decoded(one.namespaces), labels):
                return None
        elif one.namespace != pod.metadata.namespace:
            return None
        if not matches(_decoded(one.pods), pod.metadata.labels):
            return None
        if not one.port[0]:
            return 0
        ports = (p for container in pod.spec.containers for p in container.ports)
        return next((p.container_port for p in ports if (p.name, p.protocol or "TCP") == one.port), None)

    def _labels(self, namespace: str) -> Mapping[str, str]:
        cache = self._caches.get(kind_id(NAMESPACES))
        found = cast("Namespace | None", cache.get("", namespace)) if cache else None
        return found.metadata.labels if found else {}


def set_name(one: Wanted, number: int = 0) -> str:
    """The name to use in a match; an address set's is followed by ``_v4`` or ``_v6``."""
    return f"{one.base}.{number}" if one.port[0] else one.base


def _rows(one: Wanted, number: int) -> Iterator[Row]:
    name = set_name(one, number)
    for full in (f"{name}_v4", f"{name}_v6") if one.table == "Address_Set" else (name,):
        yield Row(one.table, {"name": full})


def _members(one: Wanted, number: int, lease: Lease) -> Iterator[Member]:
    name = set_name(one, number)
    if one.table == "Port_Group":
        yield Member(RowKey("Port_Group", name), "ports", RowKey("Logical_Switch_Port", lease.port))
        return
    for suffix, address in (("_v4", lease.v4), ("_v6", lease.v6)):
        if address:
            yield Member(RowKey("Address_Set", name + suffix), "addresses", address)


def _places(one: Wanted) -> Iterable[tuple[str, str]]:
    """Where a pod that *one* means must look: its namespace, a label of that, or everywhere; and there, under one label that it has."""
    scopes = _necessary(_decoded(one.namespaces), EVERYWHERE) if one.namespaces else [one.namespace]
    return [(scope, label) for scope in scopes for label in _necessary(_decoded(one.pods), "")]


def _necessary(selector: Mapping[str, Any], otherwise: str) -> list[str]:
    """Labels, ``key=value``, of which whoever is selected has one; *otherwise*, if the selector names none."""
    if labels := selector.get("matchLabels"):
        label = NAMESPACE_NAME if NAMESPACE_NAME in labels else min(labels)
        return [f"{label}={labels[label]}"]
    for expression in selector.get("matchExpressions") or ():
        if expression.get("operator") == "In":
            return [f"{expression['key']}={value}" for value in dict.fromkeys(expression.get("values") or ())]
    return [otherwise]


_CACHE: dict[str, Mapping[str, Any]] = {}


def _decoded(text: str) -> Mapping[str, Any]:
    if (known := _CACHE.get(text)) is None:
        if len(_CACHE) > 10_000:
            _CACHE.clear()
        known = _CACHE[text] = msgspec.json.decode(text)
    return known


def _canonical(selector: Mapping[str, Any] | None) -> str:
    """Equal selectors become equal text: the order of expressions and values means nothing."""
    if selector is None:
        return ""
    labels = selector.get("matchLabels") or {}
    expressions = [{**e, "values": sorted(e.get("values") or ())} for e in selector.get("matchExpressions") or ()]
    expressions.sort(key=lambda e: msgspec.json.encode(e, order="sorted"))
    plain = {**({"matchLabels": labels} if labels else {}), **({"matchExpressions": expressions} if expressions else {})}
    return msgspec.json.encode(plain, order="sorted").decode()
