"""Who claims which lease. A lease is released when no object claims it any more: there is no other clean-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from ovnloom.core.desired.model import AddressRequest, Lease, Pool
from ovnloom.core.errors import Invalid
from ovnloom.core.ipam.allocator import Ipam
from ovnloom.core.kube.kinds import IPS
from ovnloom.core.kube.objects import Key, Object, kind_id

log = structlog.get_logger()


class NotYet(Exception):
    """None of *pools* exists yet; the object is served when one does."""

    def __init__(self, pools: Sequence[str]) -> None:
        super().__init__(f"Subnet {' or '.join(pools)} has no addresses to give yet; look at its conditions")
        self.pools = pools


class Books:
    """*mark* renders an object again, *touch* the readers of a token; *counted* hears of a pool whose counters changed."""

    def __init__(
        self, ipam: Ipam, mark: Callable[[Key], None], touch: Callable[[tuple[str, ...]], None], counted: Callable[[str], None]
    ) -> None:
        self.ipam, self._mark, self._touch, self._counted = ipam, mark, touch, counted
        self._pools: set[str] = set()
        self._claims: dict[str, dict[Key, None]] = defaultdict(dict)  # port -> who claims its lease
        self._ports: dict[Key, tuple[str, ...]] = {}
        self._free: dict[str, None] = {}  # ports that nobody claims, until the step is over
        self._waiting: dict[str, dict[Key, None]] = defaultdict(dict)
        self._waits: dict[Key, tuple[str, ...]] = {}

    def pool(self, name: str, voices: Mapping[Any, Pool] | None) -> None:
        """A pool is now as *voices* say, the eldest counting, or gone."""
        if voices:
            pool = next(iter(voices.values()))
            try:
                for lease in self.ipam.set_pool(pool):
                    log.warning("lease.outside_pool", port=lease.port, pool=name, address=lease.text)
            except Invalid as invalid:
                log.warning("pool.refused", pool=name, reason=str(invalid))
                return
            self._pools.add(name)
        elif name in self._pools:
            self._pools.discard(name)
            self.ipam.remove_pool(name)
        for key in tuple(self._waiting.get(name, ())):
            self._wake(key)
        self._counted(name)

    def serve(self, key: Key, obj: Object, requests: Sequence[AddressRequest]) -> None:
        """Gives *obj* what it asks for. Raises ``Invalid`` or ``NotYet``; what it held before it keeps then."""
        self._stop_waiting(key)
        wanted = tuple(request.port for request in requests)
        for request in requests:
            try:
                self._serve(key, obj, request)
            except (Invalid, NotYet):
                self._waits[key] = request.pools
                for pool in request.pools:
                    self._waiting[pool][key] = None
                raise
        for port in self._ports.get(key, ()):
            if port not in wanted:
                self._unclaim(key, port)
        if wanted:
            self._ports[key] = wanted
        else:
            self._ports.pop(key, None)

    def adopt(self, key: Key, obj: Object, request: AddressRequest) -> None:
        """As ``serve``, but silent: who cannot be served now is told when it is rendered."""
        if self.ipam.lease(request.port):
            return
        try:
            self._serve(key, obj, request)
            self._ports[key] = (*self._ports.get(key, ()), request.port)
        except (Invalid, NotYet) as reason:
            log.info("lease.not_adopted", object=str(key), port=request.port, reason=str(reason))

    def drop(self, key: Key) -> None:
        """*key* is gone and claims nothing any more."""
        self._stop_waiting(key)
        for port in self._ports.pop(key, ()):
            self._unclaim(key, port)

    def settle(self, dirty: Callable[[Key], bool]) -> None:
        """The end of a step: what nobody claims is free, unless its page in the ledger has yet to be asked."""
        for port in list(self._free):
            if dirty(Key(kind_id(IPS), "", port)):
                continue
            del self._free[port]
            if not self._claims.get(port):
                self._claims.pop(port, None)
                self._release(port)

    def _serve(self, key: Key, obj: Object, request: AddressRequest) -> None:
        uid, lease = obj.metadata.uid, self.ipam.lease(request.port)
        if lease and lease.uid != uid:
            ledger = key.kind == kind_id(IPS)
            if request.sticky and lease.pool in request.pools and set(request.addresses) <= set(lease.addresses):
                if not ledger:
                    self.ipam.release(request.port)
                    self._taken(self.ipam.adopt(replace(lease, owner=key, uid=uid)))
            else:
                self._release(request.port)
                lease = None
        if lease is None:
            self._taken(self._allocate(key, uid, request))
        self._claims[request.port][key] = None
        self._free.pop(request.port, None)

    def _allocate(self, key: Key, uid: str, request: AddressRequest) -> Lease:
        pools = [pool for pool in request.pools if pool in self._pools]
        if not pools:
            raise NotYet(request.pools)
        for last, pool in enumerate(pools, 1 - len(pools)):
            try:
                return self.ipam.allocate(request, pool, key, uid)
            except Invalid as invalid:
                if last == 0:
                    where = f"{request.field}: " if request.field and (request.addresses or request.mac) else ""
                    raise Invalid(f"{where}{invalid}", reason=invalid.reason) from None
        raise AssertionError("unreachable: the last pool answers or raises")

    def _taken(self, lease: Lease | None) -> None:
        if lease:
            self._touch(("lease", lease.port))
            self._count(lease.pool, 1)

    def _release(self, port: str) -> None:
        lease = self.ipam.release(port)
        if lease is None:
            return
        self._touch(("lease", port))
        self._count(lease.pool, 0)
        if waiting := self._waiting.get(lease.pool):
            self._wake(next(iter(waiting)))

    def _count(self, pool: str, threshold: int) -> None:
        """Readers of "in use" hear only of the first and the last lease."""
        usage = self.ipam.usage(pool)
        if usage is None or max(usage.v4_using, usage.v6_using) == threshold:
            self._touch(("pool", pool))
        self._counted(pool)

    def _unclaim(self, key: Key, port: str) -> None:
        claims = self._claims.get(port)
        if claims is not None:
            claims.pop(key, None)
            if not claims:
                self._free[port] = None

    def _wake(self, key: Key) -> None:
        self._stop_waiting(key)
        self._mark(key)

    def _stop_waiting(self, key: Key) -> None:
        for pool in self._waits.pop(key, ()):
            self._waiting[pool].pop(key, None)
