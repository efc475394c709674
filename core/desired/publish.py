"""What Kubernetes should hold because of us: notes on objects and child objects, compared with the caches.

Held back until the rows of the contributing object are committed. One patch per object, and none that changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from ovnloom.core.desired.model import Child, Finalizer
from ovnloom.core.desired.store import Changes, Note, Store
from ovnloom.core.kube.kinds import IPS
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id
from ovnloom.core.names import OWNER_UID, RESERVED_LABEL

if TYPE_CHECKING:
    from ovnloom.core.kube.cache import Cache

FINALIZER = Note("finalizer", Finalizer(Key("", "", "")).name)


class Matter(NamedTuple):
    """Something to compare: the notes on an object, or a child object."""

    what: Literal["notes", "child"]
    key: Key


@dataclass(frozen=True, slots=True)
class Write:
    """One request to the API server. *body* is a merge patch or, for ``create``, the object."""

    verb: Literal["create", "patch", "delete", "status"]
    key: Key
    body: Mapping[str, Any]
    uid: str = ""


class Publisher:
    def __init__(self, store: Store, caches: Mapping[str, Cache[Object]], kinds: Mapping[str, Kind[Object]]) -> None:
        self._store, self._caches, self._kinds = store, caches, kinds
        self._pending: dict[Key, dict[Matter, None]] = defaultdict(dict)  # contributing object -> what it says
        self._withdrawn: dict[Key, set[Note]] = defaultdict(set)
        self._withheld: set[Key] = set()
        self._ready: dict[Matter, None] = {}
        self._in_flight: set[Key] = set()
        self._with_status = {name for name, kind in kinds.items() if _has_raw_status(kind)}
        self.statuses: dict[Key, None] = {}

    @property
    def busy(self) -> bool:
        return bool(self._ready)

    def changed(self, contributor: Key, changes: Changes) -> None:
        self._pending[contributor].update(
            dict.fromkeys([*(Matter("notes", key) for key in changes.targets), *(Matter("child", key) for key in changes.children)])
        )
        for target, notes in changes.withdrawn.items():
            self._withdrawn[target] |= notes

    def release(self, contributor: Key) -> None:
        """All rows of *contributor* are committed."""
        if contributor in self._withheld:
            return
        self._ready.update(self._pending.pop(contributor, {}))
        obj = self._object(contributor)
        if obj and obj.metadata.deletion_timestamp and FINALIZER.key in obj.metadata.finalizers:
            # also one that an earlier process left: nobody says it now, so it is withdrawn
            if FINALIZER not in self._store.notes.get(contributor, {}):
                self._withdrawn[contributor].add(FINALIZER)
            self._ready[Matter("notes", contributor)] = None

    def withhold(self, contributor: Key) -> None:
        """Nothing of *contributor* is published before a critical plugin has had its say."""
        self._withheld.add(contributor)

    def allow(self, contributor: Key) -> None:
        self._withheld.discard(contributor)

    def forget(self, key: Key) -> None:
        self._withdrawn.pop(key, None)
        self._withheld.discard(key)
        self.statuses.pop(key, None)

    def observed(self, key: Key) -> None:
        """*key* changed in Kubernetes: does it still hold what we say?"""
        if key in self._store.notes:
            self._ready[Matter("notes", key)] = None
        if key in self._store.children:
            self._ready[Matter("child", key)] = None

    def mark_all(self) -> None:
        self._ready.update(dict.fromkeys(Matter("notes", key) for key in self._store.notes))
        self._ready.update(dict.fromkeys(Matter("child", key) for key in self._store.children))

    def strays(self) -> None:
        """After a full pass: pages of the ledger that nobody says."""
        for obj in self._caches[kind_id(IPS)].all() if kind_id(IPS) in self._caches else ():
            meta = obj.metadata
            if OWNER_UID in meta.annotations or meta.labels.get(RESERVED_LABEL) == "false":
                key = Key(kind_id(IPS), "", meta.name)
                if key not in self._store.children:
                    self._ready[Matter("child", key)] = None

    def is_own_writing(self, key: Key, old: Object, new: Object) -> bool:
        """Whether *old* and *new* differ only in annotations that now say what we want them to."""
        notes = self._store.notes.get(key)
        if not notes or old.metadata.annotations == new.metadata.annotations:
            return False
        before, after = old.metadata.annotations, new.metadata.annotations
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name) and self._value(notes, Note("annotation", name)) != after.get(name):
                return False
        return _alike(old, new)

    def status_due(self, key: Key) -> None:
        if key.kind in self._with_status:
            self.statuses[key] = None

    def writes(self) -> list[Write]:
        """What has to be written now. An object that is being written waits for the answer."""
        result = []
        for matter in list(self._ready):
            if matter.key in self._in_flight:
                continue
            del self._ready[matter]
            write = self._child(matter.key) if matter.what == "child" else self._notes(matter.key)
            if write:
                self._in_flight.add(matter.key)
                result.append(write)
        return result

    def wrote(self, write: Write, *, again: bool) -> None:
        """The answer came. *again*: it did not do, compare once more."""
        self._in_flight.discard(write.key)
        if again:
            self.observed(write.key)
            if write.verb == "delete":
                self._ready[Matter("child", write.key)] = None

    def _object(self, key: Key) -> Object | None:
        cache = self._caches.get(key.kind)
        return cache.get(key.namespace, key.name) if cache else None

    def _notes(self, key: Key) -> Write | None:
        obj = self._object(key)
        notes, withdrawn = self._store.notes.get(key, {}), self._withdrawn.pop(key, set())
        if obj is None:
            return None
        meta = obj.metadata
        annotations: dict[str, object] = {
            note.key: value
            for note, voices in notes.items()
            if note.kind == "annotation" and meta.annotations.get(note.key) != (value := next(iter(voices.values())))
        }
        annotations |= {n.key: None for n in withdrawn - notes.keys() if n.kind == "annotation" and n.key in meta.annotations}
        defaults = {n.key: next(iter(voices.values())) for n, voices in notes.items() if n.kind == "default"}
        finalizers = [f for f in meta.finalizers if Note("finalizer", f) not in withdrawn - notes.keys()]
        if not meta.deletion_timestamp:
            finalizers += [n.key for n in notes if n.kind == "finalizer" and n.key not in finalizers]
        body: dict[str, Any] = {}
        if annotations:
            body["metadata"] = {"annotations": annotations}
        if finalizers != meta.finalizers:
            body.setdefault("metadata", {}).update(finalizers=finalizers, resourceVersion=meta.resource_version)
        if defaults:
            body["spec"] = defaults
        return Write("patch", key, body, meta.uid) if body else None

    def _child(self, key: Key) -> Write | None:
        obj = self._object(key)
        voices = self._store.children.get(key)
        if not voices:
            return Write("delete", key, {}, obj.metadata.uid) if obj and not obj.metadata.deletion_timestamp else None
        child = next(iter(voices.values()))
        if obj is None:
            return Write("create", key, child.manifest)
        if child.once:
            return None
        body = difference(self._kinds[key.kind], child, obj)
        return Write("patch", key, body, obj.metadata.uid) if body else None

    @staticmethod
    def _value(notes: Mapping[Note, Mapping[Any, object]], note: Note) -> object:
        return next(iter(notes.get(note, {}).values()), None)


def difference(kind: Kind[Object], child: Child, held: Object) -> dict[str, Any]:
    """The merge patch that makes *held* say what *child* says; labels and annotations of others stay."""
    wanted = msgspec.convert(child.manifest, kind.struct)
    metadata: Mapping[str, Any] = child.manifest["metadata"]  # type: ignore[assignment]
    body: dict[str, Any] = {}
    for part, have in (("labels", held.metadata.labels), ("annotations", held.metadata.annotations)):
        missing = {name: value for name, value in metadata.get(part, {}).items() if have.get(name) != value}
        if missing:
            body.setdefault("metadata", {})[part] = missing
    owners = {o.uid for o in held.metadata.owner_references}
    if any(o.uid not in owners for o in wanted.metadata.owner_references):
        body.setdefault("metadata", {})["ownerReferences"] = metadata["ownerReferences"]
    if getattr(wanted, "spec", None) != getattr(held, "spec", None):
        body["spec"] = child.manifest["spec"]
    return body


def _alike(old: Object, new: Object) -> bool:
    """Equal in everything but annotations, versions and published status."""
    a, b = old.metadata, new.metadata
    same_meta = (a.labels, a.deletion_timestamp, a.finalizers, a.uid) == (b.labels, b.deletion_timestamp, b.finalizers, b.uid)
    return same_meta and all(
        getattr(old, f) == getattr(new, f)
        for f in old.__struct_fields__
        if f != "metadata" and not isinstance(getattr(old, f), msgspec.Raw)
    )


def _has_raw_status(kind: Kind[Object]) -> bool:
    return any(f.name == "status" and f.type is msgspec.Raw for f in msgspec.structs.fields(kind.struct))
