"""A read-only window on the caches that records who read what.

A plugin reads other objects only through here. When something that was read changes, its reader is rendered again:
nobody writes "enqueue the pods of this subnet".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from ovnloom.core import sets
from ovnloom.core.kube.kinds import IPS
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id

if TYPE_CHECKING:
    from ovnloom.core.desired.model import Lease
    from ovnloom.core.ipam.allocator import Ipam, PoolUsage
    from ovnloom.core.kube.cache import Cache
    from ovnloom.core.sets import Sets, Wanted

T = TypeVar("T", bound=Object)

# What can be read: an object, an index value, a whole kind, a pool's being in use, a port's lease, an object's faults.
Token: TypeAlias = tuple[str, ...]


class Stale(Exception):
    """The cache of *kind* is too old to decide; core refreshes it and asks again."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"the cache of {kind} may be older than the object that asks")
        self.kind = kind


class Readers:
    """Who read what; forgotten and recorded anew at each rendering."""

    def __init__(self) -> None:
        self._by_token: dict[Token, dict[Key, None]] = defaultdict(dict)
        self._by_reader: dict[Key, tuple[Token, ...]] = {}

    def record(self, reader: Key, tokens: Collection[Token]) -> None:
        if (before := self._by_reader.get(reader)) is not None:
            if len(before) == len(tokens) and all(token in tokens for token in before):
                return
            self.forget(reader)
        if tokens:
            self._by_reader[reader] = tuple(tokens)
            for token in tokens:
                self._by_token[token][reader] = None

    def forget(self, reader: Key) -> None:
        for token in self._by_reader.pop(reader, ()):
            readers = self._by_token[token]
            readers.pop(reader, None)
            if not readers:
                del self._by_token[token]

    def of(self, token: Token) -> Iterable[Key]:
        return self._by_token.get(token, ())


def touched(kind: Kind[T], old: T | None, new: T | None) -> Iterator[Token]:
    """The tokens whose readers a change from *old* to *new* concerns."""
    name = kind_id(kind)
    known = new or old
    if known is None:
        return
    yield ("object", name, known.metadata.namespace, known.metadata.name)
    yield ("kind", name)
    for index, values in kind.indexes.items():
        for value in {*(values(old) if old else ()), *(values(new) if new else ())}:
            yield ("index", name, index, value)


class View:
    """What plugins may know. Objects that come out are shared: reading only."""

    def __init__(
        self,
        caches: Mapping[str, Cache[Object]],
        ipam: Ipam | None = None,
        faults: Mapping[Key, list[str]] | None = None,
        sets: Sets | None = None,
    ) -> None:
        self._caches, self._ipam, self._faults = caches, ipam, faults if faults is not None else {}
        self._sets = sets
        self.reads: dict[Token, None] = {}
        self.asked: dict[Wanted, None] = {}

    def get(self, kind: Kind[T], name: str, namespace: str = "") -> T | None:
        """The object, or ``None``."""
        self.reads["object", kind_id(kind), namespace, name] = None
        return self._cache(kind).get(namespace, name)

    def select(self, kind: Kind[T], index: str, value: str) -> Iterable[T]:
        """Objects found under *value* of one of the kind's indexes, by name."""
        self.reads["index", kind_id(kind), index, value] = None
        return sorted(self._cache(kind).select(index, value), key=lambda o: (o.metadata.namespace, o.metadata.name))

    def list(self, kind: Kind[T]) -> Iterable[T]:
        """All objects of a kind, by name. The reader is rendered again whenever any of them changes: think of an index first."""
        self.reads["kind", kind_id(kind)] = None
        return sorted(self._cache(kind).all(), key=lambda o: (o.metadata.namespace, o.metadata.name))

    def exists(self, kind: Kind[T]) -> bool:
        """Whether there is any object of the kind. The reader is rendered again when the first comes and the last goes."""
        self.reads["exists", kind_id(kind)] = None
        return len(self._cache(kind)) > 0

    def fresh(self, kind: Kind[T], obj: Object) -> None:
        """Raises ``Stale`` unless the cache of *kind* is known to be at least as new as *obj*.

        Watches of different kinds have no common order. Who concludes something from the *absence* of an object asks this first.
        """
        if int(self._cache(kind).resource_version or 0) < int(obj.metadata.resource_version or 0):
            raise Stale(kind_id(kind))

    def lease(self, port: str) -> Lease | None:
        """The addresses held for *port*."""
        self.reads["lease", port] = None
        return self._ipam.lease(port) if self._ipam else None

    def pool_in_use(self, pool: str) -> bool:
        """Whether anybody holds an address of *pool*, or the ledger has a page that says so (after a restart it is read first)."""
        self.reads["pool", pool] = None
        if self._ipam is not None and any(True for _ in self._ipam.leases(pool)):
            return True
        return kind_id(IPS) in self._caches and any(True for _ in self.select(IPS, "subnet", pool))

    def address_set(
        self, *, namespace: str = "", namespaces: Mapping[str, Any] | None = None, pods: Mapping[str, Any] | None = None
    ) -> str:
        """The name of the set of the addresses of the pods that are meant: in a match, ``$<name>_v4`` and ``$<name>_v6``.

        *namespaces* and *pods* are label selectors; without *namespaces* the pods are those of *namespace*. Core keeps the
        members current, and the reader is not rendered again for them.
        """
        return self._ask(sets.wanted("Address_Set", namespace, namespaces, pods))[0]

    def port_group(
        self,
        *,
        namespace: str = "",
        namespaces: Mapping[str, Any] | None = None,
        pods: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> str:
        """The name of the group of the ports of the pods that are meant, as ``address_set`` means them.

        *name*, if the group is to be called so: then nobody else may ask for one of this name.
        """
        return self._ask(sets.wanted("Port_Group", namespace, namespaces, pods, name=name))[0]

    def numbered_sets(
        self,
        table: Literal["Address_Set", "Port_Group"],
        port: tuple[str, str],
        *,
        namespace: str = "",
        namespaces: Mapping[str, Any] | None = None,
        pods: Mapping[str, Any] | None = None,
    ) -> Mapping[int, str]:
        """As ``address_set`` or ``port_group``, one for each number that the pods meant give *port* (name, protocol).

        The reader is rendered again when a number comes or goes.
        """
        name, one = self._ask(sets.wanted(table, namespace, namespaces, pods, port))
        self.reads["numbers", name] = None
        return {number: sets.set_name(one, number) for number in (self._sets.numbers(one) if self._sets else ())}

    def _ask(self, one: Wanted) -> tuple[str, Wanted]:
        self.asked[one] = None
        return one.base, one

    def usage(self, pool: str) -> PoolUsage | None:
        """Counters of a pool, for ``status`` only: not recorded, status is computed again whenever they change."""
        return self._ipam.usage(pool) if self._ipam else None

    def faults(self, key: Key) -> Iterable[str]:
        """What is wrong with an object, for ``status`` only."""
        return self._faults.get(key, ())

    def _cache(self, kind: Kind[T]) -> Cache[T]:
        return self._caches[kind_id(kind)]  # type: ignore[return-value]  # a cache per kind, of that kind's struct
