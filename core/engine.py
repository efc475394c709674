"""The heart, without I/O: ``changed(key)`` marks, ``step()`` renders and says what to commit, ``done()`` says what to publish.

One object goes through: validate -> addresses -> ``desired_state`` of each plugin, in isolation -> the store. What
may differ from the northbound database becomes one batch. Only what the batch carried successfully is published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ovnloom.core import status
from ovnloom.core.batch import Batch, Failure
from ovnloom.core.cluster import CLUSTER, cluster
from ovnloom.core.desired.diff import Diff, differences, owned_strays
from ovnloom.core.desired.model import Contribution, RowKey
from ovnloom.core.desired.publish import Publisher, Write
from ovnloom.core.desired.store import Changes, Spot, Store
from ovnloom.core.errors import Invalid, Retry
from ovnloom.core.ipam.books import Books, NotYet
from ovnloom.core.kube.kinds import NAMESPACES, PODS, SUBNETS
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id
from ovnloom.core.ovn.batcher import Outcome as Commit
from ovnloom.core.ovn.batcher import UnitResult
from ovnloom.core.sets import SETS, Sets
from ovnloom.core.view import Readers, Stale, View, touched

if TYPE_CHECKING:
    from ovnloom.core.ipam.allocator import Ipam
    from ovnloom.core.kube.cache import Cache
    from ovnloom.core.ovn.replica import Replica
    from ovnloom.core.plugins import Plugin, PluginSet

log = structlog.get_logger()

FIRST_RETRY, LAST_RETRY = 0.2, 60.0  # seconds


class Engine:
    def __init__(
        self, plugins: PluginSet, caches: Mapping[str, Cache[Object]], ipam: Ipam, *, order: Sequence[Kind[Object]], cluster: UUID
    ) -> None:
        self.plugins, self.caches, self.ipam, self.cluster = plugins, caches, ipam, cluster
        self.kinds = {kind_id(kind): kind for kind in order}
        self._rank = {name: rank for rank, name in enumerate([CLUSTER.kind, *self.kinds])}
        self.store = Store()
        self.publisher = Publisher(self.store, self.caches, self.kinds)
        self.readers = Readers()
        self.faults: dict[Key, list[str]] = {}
        self.books = Books(ipam, self.mark, self._touch, lambda pool: self.publisher.status_due(Key(kind_id(SUBNETS), "", pool)))
        self.sets = Sets(caches, ipam, self._say, self._touch)
        self._dirty: list[dict[Key, None]] = [{} for _ in self._rank]
        self._spots: dict[Spot, Key] = {}
        self._held: dict[RowKey, dict[Spot, Key]] = defaultdict(dict)
        self._unsettled: dict[Key, dict[Spot, None]] = defaultdict(dict)
        self._stale: dict[str, dict[Key, None]] = defaultdict(dict)
        self._attempts: dict[Key, int] = {}
        self._unpruned: dict[Spot, Key] = {}
        self._mute: set[Key] = set()  # objects that have not been rendered once without a failure
        self.swept = False
        self._sweeping = False
        self._adopted = True

    # what happened

    def load(self) -> None:
        """Everything is to be rendered anew: at the start, and when the northbound database was loaded again.

        Nothing is deleted before the pass is complete.
        """
        self.swept, self._sweeping = False, True
        self.mark(CLUSTER)
        for name, cache in self.caches.items():
            for obj in cache.all():
                self.mark(Key(name, obj.metadata.namespace, obj.metadata.name))
        for key in self.store.objects():
            self.mark(key)
        self._spots.update({Spot(row): owner for row in self.store.rows if (owner := self.store.owner(row))})
        self.publisher.mark_all()
        self._adopted = False

    def changed(self, kind: Kind[Object], key: Key, old: Object | None, new: Object | None) -> None:
        """An object came, went or is no longer the same."""
        self.publisher.observed(key)
        if old and new and self.publisher.is_own_writing(key, old, new):
            return
        self._attempts.pop(key, None)
        self.mark(key)
        if old and new and old.metadata.uid != new.metadata.uid:  # the rows are labelled with the uid
            self._spots |= dict.fromkeys(self.store.spots(key), key)
        if key.kind == kind_id(NAMESPACES):
            self.sets.namespace_changed(key.name)
        for token in touched(kind, old, new):
            self._touch(token)
        if len(self.caches[key.kind]) == (1 if old is None else 0):
            self._touch(("exists", key.kind))

    def mark(self, key: Key) -> None:
        """*key* is to be rendered."""
        if (rank := self._rank.get(key.kind)) is not None:
            self._dirty[rank][key] = None

    def observe(self, row: RowKey) -> None:
        """Somebody changed a northbound row that we have a word in."""
        if (desired := self.store.rows.get(row)) is not None and (owner := desired.owner):
            self._spots.setdefault(Spot(row), owner[0].object)
            for column, element in (*desired.members, *desired.entries):
                self._spots.setdefault(Spot(row, column, element), owner[0].object)

    def refreshed(self, kind: str) -> None:
        """The cache of *kind* is as new as when the refresh was asked for."""
        for key in self._stale.pop(kind, ()):
            self.mark(key)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._spots) or any(self._dirty) or self._sweeping or self.publisher.busy

    # one step

    def step(self, replica: Replica, limit: int = 500) -> Batch:
        """Renders up to *limit* objects and says what has to change for them."""
        batch = Batch()
        while len(batch.rendered) < limit and (key := self._next()):
            self._render(key, batch)
        self.books.settle(lambda key: key in self._dirty[self._rank[key.kind]])
        spots, self._spots = self._spots, {}
        rows = {spot.row for spot in spots if not spot.column}
        for row in [row for row in self._held if row in rows or replica.by_key(row)]:
            spots |= self._held.pop(row)
        if self._sweeping and not any(self._dirty):
            self._sweeping, self.swept = False, True
            self.publisher.strays()
            enabled = {SETS, *(plugin.name for plugin in self.plugins.plugins)}
            spots |= {Spot(row): CLUSTER for row in owned_strays(self.store, replica, enabled, self._untouchable(), self.cluster)}
        if self._unpruned and not self._silent():
            spots |= self._unpruned
            self._unpruned = {}
        diff = differences(spots, self.store, replica, self._label, self.cluster, cautious=self._sweeping)
        self._unpruned |= diff.unpruned
        self._take(diff, batch)
        return batch

    def done(self, batch: Batch, results: Sequence[UnitResult]) -> tuple[list[Write], list[Failure]]:
        """What became of *batch*; answers what may be published now, and what failed."""
        failures = list(batch.failures)
        for unit, result in zip(batch.units, results, strict=True):
            key, spots = unit.key, batch.spots[unit.key]
            if result.outcome is Commit.COMMITTED:
                self._attempts.pop(key, None)
                self._settled(key, spots)
                continue
            self._unsettled[key].update(spots)
            if result.outcome is Commit.REJECTED:
                failures.append(self._failed(key, "RowRejected", f"the northbound database refused it: {result.reason}"))
                self._spots_later(key)
            else:
                self._spots.update(dict.fromkeys(spots, key))
        for key in batch.rendered:
            if not self._unsettled.get(key):
                self.publisher.release(key)
        return self.publisher.writes(), failures

    def retry(self, key: Key) -> None:
        """The time that a failure asked for has passed."""
        self.mark(key)
        self._spots.update(dict.fromkeys(self._unsettled.get(key, ()), key))

    def statuses(self, now: str) -> list[Write]:
        """Status that differs from what the API server holds. *now* as in RFC 3339."""
        result = []
        due, self.publisher.statuses = self.publisher.statuses, {}
        for key in due:
            obj = self._object(key)
            if obj is None:
                continue
            wanted: dict[str, object] = {}
            for outcome in self.plugins.fan_out("status", obj=obj, view=self._view()):
                if outcome.error:
                    log.error("status.failed", plugin=outcome.plugin.name, object=str(key), exc_info=outcome.error)
                wanted |= outcome.result or {}
            if body := status.patch(getattr(obj, "status", b""), wanted, now=now, generation=obj.metadata.generation):
                result.append(Write("status", key, body, obj.metadata.uid))
        return result

    # rendering

    def _next(self) -> Key | None:
        for keys in self._dirty:
            if keys:
                key = next(iter(keys))
                del keys[key]
                return key
        return None

    def _view(self) -> View:
        return View(self.caches, self.ipam, self.faults, self.sets)

    def _say(self, key: Key, plugin: str, said: tuple[Contribution, ...]) -> None:
        self._note_changes(key, self.store.replace(key, plugin, said))

    def _object(self, key: Key) -> Object | None:
        if key == CLUSTER:
            return cluster()
        return self.caches[key.kind].by_key(key) if key.kind in self.caches else None

    def _render(self, key: Key, batch: Batch) -> None:
        obj = self._object(key)
        batch.rendered.append(key)
        if obj is None:
            self._forget(key)
            return
        view = self._view()
        if not self.store.said(key):
            self._mute.add(key)
        try:
            if self._faulty(key, obj, view, batch) or not self._addressed(key, obj, view, batch):
                return
            failed, publishable = False, True
            for outcome in self.plugins.fan_out("desired_state", obj=obj, view=view):
                if outcome.error:
                    failed = True
                    publishable &= self._plugin_failed(key, outcome.plugin, outcome.error, batch)
                else:
                    self._apply(key, obj, self.store.replace(key, outcome.plugin.name, outcome.result or ()), batch)
            if not failed:
                self._attempts.pop(key, None)
                self._mute.discard(key)
            if publishable:
                self.publisher.allow(key)
            self._in_sets(key, view)
        finally:
            self.readers.record(key, view.reads)
            self.publisher.status_due(key)

    def _in_sets(self, key: Key, view: View) -> None:
        self.sets.record(key, view.asked)
        if key.kind == kind_id(PODS):
            self.sets.place(key)

    def _forget(self, key: Key) -> None:
        self.readers.forget(key)
        self.faults.pop(key, None)
        self._attempts.pop(key, None)
        self._mute.discard(key)
        for plugin in list(self.store.said(key)):
            self._note_changes(key, self.store.replace(key, plugin, ()))
        self.books.drop(key)
        self._in_sets(key, self._view())
        self.publisher.forget(key)

    def _faulty(self, key: Key, obj: Object, view: View, batch: Batch) -> bool:
        """Whether its author has to mend *obj* first. The last good state stays."""
        faults: list[str] = []
        for outcome in self.plugins.fan_out("validate", obj=obj, view=view):
            if outcome.error:
                self._plugin_failed(key, outcome.plugin, outcome.error, batch)
                return True
            faults += outcome.result or ()
        if not faults:
            self.faults.pop(key, None)
            return False
        self.faults[key] = faults
        batch.failures += [Failure(key, self.kinds[key.kind].fault, sentence) for sentence in faults]
        return True

    def _addressed(self, key: Key, obj: Object, view: View, batch: Batch) -> bool:
        """Whether *obj* has the addresses it asks for, or asks for none."""
        outcome = self.plugins.first("address_request", obj=obj, view=view)
        try:
            if outcome and outcome.error:
                raise outcome.error
            if outcome and outcome.result and not self._adopted:
                self.mark(key)
                self._adopt()
                self._dirty[self._rank[key.kind]].pop(key, None)
            self.books.serve(key, obj, outcome.result if outcome else ())
        except Stale as stale:
            self._stale[stale.kind][key] = None
            batch.refresh.add(stale.kind)
            return False
        except NotYet as wait:
            # quiet, unless the Subnet itself is at fault: at the first start every node comes before the join Subnet
            if any(pool in {k.name for k in self.faults} for pool in wait.pools):
                batch.failures.append(Failure(key, "SubnetNotReady", str(wait)))
            return False
        except Invalid as invalid:
            self.faults[key] = [str(invalid)]
            batch.failures.append(Failure(key, invalid.reason, str(invalid)))
            return False
        except Retry as retry:
            batch.failures.append(Failure(key, "Waiting", str(retry), retry.after))
            return False
        except Exception as error:
            if outcome is None or outcome.error is not error:
                raise
            self._plugin_failed(key, outcome.plugin, error, batch)
            return False
        self.faults.pop(key, None)
        return True

    def _plugin_failed(self, key: Key, plugin: Plugin, error: Exception, batch: Batch) -> bool:
        """Its last good words stay. Answers whether the object may be published all the same."""
        if isinstance(error, Invalid):
            self.faults[key] = [str(error)]
            batch.failures.append(Failure(key, error.reason, str(error)))
        elif isinstance(error, Retry):
            batch.failures.append(Failure(key, "Waiting", str(error), error.after))
        else:
            log.error("plugin.failed", plugin=plugin.name, object=str(key), exc_info=error)
            batch.failures.append(self._failed(key, "PluginFailed", f"plugin {plugin.name} failed: {type(error).__name__}: {error}"))
        if plugin.critical and plugin.name not in self.store.said(key):
            self.publisher.withhold(key)
            return False
        return True

    def _failed(self, key: Key, reason: str, sentence: str) -> Failure:
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        return Failure(key, reason, sentence, min(LAST_RETRY, FIRST_RETRY * 2 ** (attempts - 1)))

    # from words to rows

    def _apply(self, key: Key, obj: Object, changes: Changes, batch: Batch) -> None:
        self._note_changes(key, changes)
        for clash in changes.clashes:
            older = f"{clash.older.plugin} for {clash.older.object}"
            sentence = f"{clash.what} is wanted by plugin {clash.younger.plugin} too, but belongs to {older}; the older one stays"
            batch.failures.append(Failure(key, "RowConflict", sentence))

    def _note_changes(self, key: Key, changes: Changes) -> None:
        for spot in changes.spots:
            self._spots[spot] = self.store.owner(spot.row) or key if not spot.column else key
        self.publisher.changed(key, changes)
        for name in changes.pools:
            self.books.pool(name, self.store.pools.get(name))

    def _take(self, diff: Diff, batch: Batch) -> None:
        batch.units, batch.spots = diff.units, diff.spots
        for parent, spots in diff.held.items():
            self._held[parent].update(spots)
            for spot, key in spots.items():
                self._unsettled[key][spot] = None
        for spot, key in diff.settled.items():
            self._settled(key, (spot,))
        batch.failures += [Failure(key, "ForeignRow", sentence) for key, sentence in diff.refused]

    def _settled(self, key: Key, spots: Iterable[Spot]) -> None:
        waiting = self._unsettled.get(key)
        if waiting is None:
            return
        for spot in spots:
            waiting.pop(spot, None)
        if not waiting:
            del self._unsettled[key]
            self.publisher.release(key)

    def _spots_later(self, key: Key) -> None:
        for spot in self._unsettled.get(key, ()):
            self._spots.pop(spot, None)

    def _label(self, key: Key, plugin: str) -> str:
        obj = self._object(key)
        return f"{plugin}/{obj.metadata.uid if obj else ''}"

    def _silent(self) -> bool:
        """Whether somebody whose words may stand in the database has not spoken yet."""
        return self._sweeping or bool(self._mute)

    def _untouchable(self) -> set[str]:
        """Labels whose rows must stay though nobody says them now: a plugin failed, or its object is faulty."""
        labels = {self._label(key, plugin.name) for key in self._mute for plugin in self.plugins.plugins}
        return labels | ({f"{SETS}/"} if self._mute else set())  # nobody knows which sets they would have asked for

    def _touch(self, token: tuple[str, ...]) -> None:
        for reader in self.readers.of(token):
            self.mark(reader)

    def _adopt(self) -> None:
        """Addresses that objects hold already are taken first, then those that objects ask for by name; only then new ones.

        Runs once in a pass, before the first object gets an address: by then all pools are known.
        """
        self._adopted = True
        requests = []
        for key in [key for keys in self._dirty for key in keys]:
            if (obj := self._object(key)) is None:
                continue
            outcome = self.plugins.first("address_request", obj=obj, view=self._view())
            if outcome and not outcome.error:
                requests += [(not request.recorded, key, obj, request) for request in outcome.result or () if request.addresses]
        for _, key, obj, request in sorted(requests, key=lambda r: r[0]):
            self.books.adopt(key, obj, request)
