"""All objects of one kind that the API server has told us of, and ways to look them up.

Objects reach a cache on three ways (a list, a watch, the answer to a write) that overtake each other. What holds them
together is ``resource_version``, up to which everything is known: nothing at or below it is news.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from ovnloom.core.kube.objects import Key, Kind, Metadata, Object, key_of, kind_id
from ovnloom.core.kube.wire import version_of

T = TypeVar("T", bound=Object)

# Called with kind, key, old, new for each object that changed; no old: it is new; no new: it is gone.
# Another uid in old and new: it was deleted and made again, and nobody saw the moment between.
Sink: TypeAlias = Callable[[Kind[Any], Key, Object | None, Object | None], None]

_UNCOMPARED = frozenset({"resource_version", "generation"})
_NOWHERE: frozenset[str] = frozenset()


@cache
def _compared(struct: type[Object]) -> Callable[[Object], object]:
    names = [f"metadata.{name}" for name in Metadata.__struct_fields__ if name not in _UNCOMPARED]
    for field in msgspec.structs.fields(struct):
        if field.name != "metadata" and not (field.name == "status" and field.type is msgspec.Raw):
            names.append(field.name)
    return attrgetter(*names)


def differs(old: Object, new: Object) -> bool:
    """Whether somebody could care: any field of the struct but ``metadata.resourceVersion``, ``metadata.generation`` and a raw ``status``.

    The first two change with every write, a raw status is one that we publish ourselves. Costs about a microsecond.
    """
    fields = _compared(type(old))
    return fields(old) != fields(new)


class Upsert(NamedTuple, Generic[T]):
    old: T | None
    changed: bool


class Cache(Generic[T]):
    """Objects in here are shared: nobody changes one. Lookups answer in no particular order.

    *sink* hears of every change, whichever way it came. It, and the kind's index functions, must not raise.
    """

    def __init__(self, kind: Kind[T], sink: Sink | None = None) -> None:
        self.kind = kind
        self.resource_version = 0  # everything up to it is in here
        self._sink = sink
        self._objects: dict[Key, T] = {}
        self._namespaces: dict[str, dict[Key, None]] = {}
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in kind.indexes}
        self._indexed: dict[Key, dict[str, frozenset[str]]] = {}  # the values each object is found under now

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get(Key(kind_id(self.kind), namespace, name))

    def by_key(self, key: Key) -> T | None:
        return self._objects.get(key)

    def all(self) -> list[T]:
        return list(self._objects.values())

    def in_namespace(self, namespace: str) -> list[T]:
        return [self._objects[key] for key in self._namespaces.get(namespace, ())]

    def select(self, index: str, value: str) -> list[T]:
        """The objects that the kind's *index* finds under *value*. Raises ``LookupError`` if there is no such index."""
        if index not in self._indexes:
            raise LookupError(f"{kind_id(self.kind)} has no index {index!r}, only {sorted(self._indexes)}")
        return [self._objects[key] for key in self._indexes[index].get(value, ())]

    def upsert(self, obj: T) -> Upsert[T]:
        """Takes *obj* in unless it is older than what is known (that it was deleted is known, too).

        *changed* is ``differs``; an object that does not is taken in all the same, silently.
        """
        key, version = key_of(self.kind, obj), version_of(obj)
        old = self._objects.get(key)
        if version and version <= (self.resource_version if old is None else version_of(old)):
            return Upsert(old, False)
        return Upsert(old, self._store(key, old, obj))

    def remove(self, key: Key, version: int = 0) -> T | None:
        """Takes the object out, unless it is newer than its deletion at *version* (0: in any case): it was made again since."""
        old = self._objects.get(key)
        if old is None or (version and version_of(old) > version):
            return None
        del self._objects[key]
        self._place(key, None)
        if self._sink is not None:
            self._sink(self.kind, key, old, None)
        return old

    def advance(self, version: int) -> None:
        """Everything up to *version* has been told."""
        self.resource_version = max(self.resource_version, version)

    def replace(self, objects: Iterable[T], version: int, *, reset: bool = False, keep: Collection[Key] = ()) -> None:
        """Merges a complete list as of *version*: what is not in it is gone, apart from *keep* and what is newer than the list.

        *reset*: the list is the truth although it is older than what is known (the API server's store was restored).
        """
        listed = {key_of(self.kind, obj): obj for obj in objects}
        for key, old in list(self._objects.items()):
            if key not in listed and key not in keep and (reset or version_of(old) <= version):
                self.remove(key)
        for key, obj in listed.items():
            if reset:
                self._store(key, self._objects.get(key), obj)
            else:
                self.upsert(obj)
        self.resource_version = version if reset else max(self.resource_version, version)

    def _store(self, key: Key, old: T | None, obj: T) -> bool:
        changed = old is None or differs(old, obj)
        if changed:
            self._place(key, obj)
        self._objects[key] = obj
        if changed and self._sink is not None:
            self._sink(self.kind, key, old, obj)
        return changed

    def _place(self, key: Key, obj: T | None) -> None:
        """Brings the indexes in line with *obj* (none: it is gone)."""
        now = {name: frozenset(values(obj)) for name, values in self.kind.indexes.items()} if obj is not None else {}
        if self.kind.namespaced:
            here = frozenset((key.namespace,))
            _move(self._namespaces, key, _NOWHERE if obj is not None else here, here if obj is not None else _NOWHERE)
        before = self._indexed.pop(key, {})
        for name, index in self._indexes.items():
            _move(index, key, before.get(name, _NOWHERE), now.get(name, _NOWHERE))
        if now:
            self._indexed[key] = now


def _move(index: dict[str, dict[Key, None]], key: Key, before: frozenset[str], now: frozenset[str]) -> None:
    for value in before - now:
        del index[value][key]
        if not index[value]:
            del index[value]
    for value in now - before:
        index.setdefault(value, {})[key] = None
