"""For tests of plugins: objects in, rows and writes out. Nothing is started; engine, caches, IPAM and replica are the real ones.

world = World(VpcPlugin, SubnetPlugin)
world.apply(yaml_text)
assert world.rows("Logical_Switch")["ovn-default"]["external_ids"]["vendor"] == "kube-ovn"
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import count
from random import Random
from typing import Any, cast
from uuid import UUID

import msgspec
import yaml

from ovnloom.core.batch import Failure
from ovnloom.core.config import ClusterConfig
from ovnloom.core.controller import union
from ovnloom.core.desired.publish import Write
from ovnloom.core.engine import Engine
from ovnloom.core.ipam.allocator import Ipam
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.objects import Key, Kind, Object, key_of, kind_id
from ovnloom.core.ovn.batcher import Outcome, UnitResult
from ovnloom.core.ovn.columns import Column, Schema
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op, Update
from ovnloom.core.ovn.replica import Replica
from ovnloom.core.ovn.rows import Row
from ovnloom.core.ovn.schema import TABLES
from ovnloom.core.plugins import Plugin, PluginSet

CLUSTER = UUID(int=1)


def pod(name: str, namespace: str = "default", node: str = "n1", **extra: object) -> dict[str, object]:
    """A Pod that is scheduled to *node*."""
    metadata = {"name": name, "namespace": namespace, **extra}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, "containers": [{}]}}


class Database:
    """A northbound database in memory: applies operations as ovsdb-server does (children and references go with what they hang on)."""

    def __init__(self) -> None:
        schema = Schema(json.loads(files("ovnloom.core.ovn").joinpath("ovn-nb.ovsschema").read_text()))
        self.replica = Replica(schema, {table.name: table for table in schema.known(tuple(TABLES))})
        self.transactions = 0

    def commit(self, ops: Iterable[Op]) -> None:
        self.transactions += 1
        for op in sorted(ops, key=lambda op: not isinstance(op, Insert)):
            # as in OVSDB, a change of a row that went earlier in the transaction meets no row
            if isinstance(op, Insert) or self.replica.get(op.table, op.uuid):
                self.replica.apply({op.table: {op.uuid: self._update(op)}})
        while gone := list(self._orphans()):
            for table, uuid in gone:
                self._forget(table, uuid)
                self.replica.apply({table: {uuid: {"delete": None}}})

    def _update(self, op: Op) -> Mapping[str, Any]:
        columns = self.replica.columns(op.table)
        match op:
            case Insert():
                return {"insert": {name: columns[name].encode(value) for name, value in op.columns.items()}}
            case Delete():
                self._forget(op.table, op.uuid)
                return {"delete": None}
            case Update():
                return {"modify": {name: self._difference(op, columns[name], value) for name, value in op.columns.items()}}
            case Mutate():
                column, held = columns[op.column], self._row(op)[op.column]
                if isinstance(held, Mapping):
                    now: Any = {k: v for k, v in held.items() if k not in op.delete}
                    now = {**dict(cast("Mapping[str, str]", op.insert or {})), **now}
                else:
                    now = (set(cast("set[Any]", held)) - set(op.delete)) | set(cast("Iterable[Any]", op.insert))
                return {"modify": {op.column: self._difference(op, column, now)}}

    def _difference(self, op: Op, column: Column, now: Any) -> Any:
        held = self._row(op)[column.name]
        if column.is_map:
            before = dict(cast("Mapping[str, str]", held))
            changed = {k: now.get(k, before.get(k)) for k in {*before, *now} if before.get(k) != now.get(k)}
            return column.encode(changed)
        if column.is_set and column.many:
            return column.encode(frozenset(set(cast("set[Any]", held)) ^ set(cast("set[Any]", column.plain(now)))))
        return column.encode(now)

    def _row(self, op: Op) -> Row:
        row = self.replica.get(op.table, op.uuid)
        assert row is not None, f"{op} speaks of a row that does not exist"
        return row

    def _orphans(self) -> Iterable[tuple[str, str]]:
        for name, table in TABLES.items():
            if table.held_by:
                yield from ((name, uuid) for uuid in self.replica.table(name) if not self.replica.parents(name, uuid))

    def _forget(self, table: str, uuid: str) -> None:
        """Weak references to a row that goes, go too."""
        for name in TABLES:
            for column in self.replica.columns(name).values():
                if column.references == table and column.is_set:
                    for holder in [
                        u for u, row in self.replica.table(name).items() if uuid in cast("set[str]", row.columns.get(column.name, ()))
                    ]:
                        self.replica.apply({name: {holder: {"modify": {column.name: ["set", [["uuid", uuid]]]}}}})


class World:
    """A cluster in a test. *plugins* are classes, or instances made with a configuration."""

    def __init__(self, *plugins: type[Plugin] | Plugin, cluster: ClusterConfig | None = None) -> None:
        cluster = cluster or ClusterConfig()
        made = [p if isinstance(p, Plugin) else p(p.config_class(), cluster) for p in plugins]
        self.plugins = PluginSet(made)
        kinds = union(kind for o in self.plugins.fan_out("resource_kinds") for kind in o.result or ())
        self.kinds: dict[str, Kind[Object]] = {kind_id(kind): kind for kind in kinds}
        self.caches: dict[str, Cache[Object]] = {name: Cache(kind, self._changed) for name, kind in self.kinds.items()}
        self.database = Database()
        self.engine = Engine(self.plugins, self.caches, Ipam(Random(1)), order=kinds, cluster=CLUSTER)
        self.failures: list[Failure] = []
        self.writes: list[Write] = []
        self._versions = count(1)
        self.refreshes = 0
        self.engine.load()

    # the cluster's side

    def apply(self, *manifests: str | Mapping[str, Any]) -> None:
        """Creates or merges objects (YAML text may hold several), then lets everything settle."""
        for manifest in manifests:
            documents = yaml.safe_load_all(manifest) if isinstance(manifest, str) else [manifest]
            for document in documents:
                if document:
                    self.put(document)
        self.settle()

    def replace(self, manifest: Mapping[str, Any]) -> Object:
        """As ``put``, but what *manifest* leaves out of labels is gone."""
        return self.put(manifest, labels=manifest["metadata"].get("labels", {}))

    def put(self, manifest: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Object:
        """As ``apply``, for one object, without settling."""
        kind = next(k for k in self.kinds.values() if (k.api_version, k.kind) == (manifest["apiVersion"], manifest["kind"]))
        meta = manifest["metadata"]
        key = Key(kind_id(kind), meta.get("namespace", "default") if kind.namespaced else "", meta["name"])
        held = self.caches[key.kind].by_key(key)
        now = _merge(_plain(held) if held else {"metadata": {"namespace": key.namespace}}, manifest)
        if labels is not None:
            now["metadata"]["labels"] = labels
        return self._store(kind, now)

    def delete(self, kind: Kind[Any], name: str, namespace: str = "") -> None:
        """As the API server: an object with finalizers only gets its deletion timestamp."""
        self.remove(kind, name, namespace)
        self.settle()

    def remove(self, kind: Kind[Any], name: str, namespace: str = "") -> None:
        """As ``delete``, without settling."""
        self._delete(Key(kind_id(kind), namespace, name))

    def get(self, kind: Kind[Any], name: str, namespace: str = "") -> Any:
        return self.caches[kind_id(kind)].get(namespace, name)

    # what came of it

    def rows(self, table: str) -> dict[str, Row]:
        """Rows by natural key."""
        found = {}
        for uuid, row in self.database.replica.table(table).items():
            key = self.database.replica.key_of(table, uuid)
            assert key is not None
            found[key.key] = row
        return found

    def restarted(self) -> World:
        """Another process over the same API server and database."""
        other = World(*self.plugins.plugins)
        other._versions = self._versions
        other.database = self.database
        for name, cache in self.caches.items():
            for obj in cache.all():
                other.caches[name].upsert(obj)
        other.engine.load()
        other.settle()
        return other

    def settle(self, rounds: int = 200) -> None:
        for _ in range(rounds):
            if not self.engine.busy:
                break
            self.step()
        else:
            raise AssertionError("it never settles")
        for write in self.engine.statuses("2026-01-01T00:00:00Z"):
            self.writes.append(write)
            self._patch(write)

    def step(self) -> None:
        batch = self.engine.step(self.database.replica)
        for kind in batch.refresh:
            self.refreshes += 1
            self.caches[kind].advance(next(self._versions))
            self.engine.refreshed(kind)
        results = self.commit(batch.units)
        writes, failures = self.engine.done(batch, results)
        self.failures += failures
        for write in writes:
            self.writes.append(write)
            self._write(write)
            self.engine.publisher.wrote(write, again=False)

    def commit(self, units: Any) -> list[UnitResult]:
        if units:
            self.database.commit(op for unit in units for op in unit.ops)
        return [UnitResult(unit, Outcome.COMMITTED) for unit in units]

    def _write(self, write: Write) -> None:
        match write.verb:
            case "create":
                self.put(write.body)
            case "delete":
                self._delete(write.key)
            case _:
                self._patch(write)

    def _patch(self, write: Write) -> None:
        held = self.caches[write.key.kind].by_key(write.key)
        if held is not None:
            self._store(self.kinds[write.key.kind], _merge(_plain(held), write.body))

    def _store(self, kind: Kind[Object], document: Mapping[str, Any]) -> Object:
        version = next(self._versions)
        defaults = {"uid": f"uid-{version}", "creationTimestamp": f"2026-01-01T00:00:{version:06}Z"}
        meta = {**defaults, **{k: v for k, v in document["metadata"].items() if v}, "resourceVersion": str(version)}
        obj = msgspec.json.decode(msgspec.json.encode({**document, "metadata": meta}), type=kind.struct)
        key = key_of(kind, obj)
        if obj.metadata.deletion_timestamp and not obj.metadata.finalizers:
            self.caches[key.kind].remove(key)
        else:
            self.caches[key.kind].upsert(obj)
        return obj

    def _delete(self, key: Key) -> None:
        held = self.caches[key.kind].by_key(key)
        if held is None:
            return
        if held.metadata.finalizers:
            self._store(self.kinds[key.kind], _merge(_plain(held), {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))
        else:
            self.caches[key.kind].remove(key)

    def _changed(self, kind: Kind[Any], key: Key, old: Object | None, new: Object | None) -> None:
        self.engine.changed(kind, key, old, new)


def _merge(held: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(held) if isinstance(held, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            result[name] = _merge(result.get(name), value)
        else:
            result[name] = value
    return result


def _plain(obj: Object) -> dict[str, Any]:
    """As the API server would send it."""
    return cast("dict[str, Any]", msgspec.json.decode(msgspec.json.encode(obj)))


def counts(writes: Iterable[Write]) -> dict[tuple[str, str], int]:
    """Writes by verb and kind."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for write in writes:
        found[write.verb, write.key.kind] += 1
    return dict(found)
