"""Who holds which address: the books over all pools, known by port. Pure and synchronous.

A refused request changes nothing. An address never has two holders. How free addresses are chosen is in ``free``; what a
subnet allows in ``subnet``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from ovnloom.core import net
from ovnloom.core.desired.model import AddressRequest, Lease, Pool
from ovnloom.core.errors import Invalid
from ovnloom.core.ipam.mac import mac_number, mac_text, random_mac
from ovnloom.core.ipam.space import Holding, Space
from ovnloom.core.ipam.subnet import NO_MAC, RANDOM_MAC, Subnet, Wish, shape
from ovnloom.core.kube.objects import Key


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """How many addresses of a pool are held and free. The texts (``10.0.0.2-10.0.0.9,10.0.0.12``) are made when read,
    from the books as they are then, and take as long as the pool has leases."""

    v4_using: int
    v4_available: int
    v6_using: int
    v6_available: int
    _spaces: dict[int, Space] = field(repr=False, compare=False)

    def _using(self, version: int) -> str:
        return self._spaces[version].held_ranges().text(version) if version in self._spaces else ""

    def _available(self, version: int) -> str:
        return self._spaces[version].free_ranges().text(version) if version in self._spaces else ""

    @property
    def v4_using_ranges(self) -> str:
        return self._using(4)

    @property
    def v4_available_ranges(self) -> str:
        return self._available(4)

    @property
    def v6_using_ranges(self) -> str:
        return self._using(6)

    @property
    def v6_available_ranges(self) -> str:
        return self._available(6)


class Ipam:
    """All pools and leases. *random* makes the MACs; tests pass a seeded one."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self._subnets: dict[str, Subnet] = {}
        self._where: dict[str, Subnet] = {}  # by port
        self._reserved_macs: set[int] = set()

    def set_pool(self, pool: Pool) -> list[Lease]:
        """Creates a pool, or changes it. The answer are leases with an address that is no longer in it, as they were: that
        address is free of them now, and they are gone if it was their only one.

        The gateway is never given out, excluded or not. Addresses that are excluded later stay with their holders. What
        cannot be read of *pool.exclude* excludes nothing.

        Raises Invalid (``InvalidCidr``, ``InvalidGateway``), and changes nothing, if the pool cannot be understood.
        """
        layout = shape(pool.name, pool.cidr, pool.gateway, (*pool.exclude, *(part for part in pool.gateway.split(",") if part)))
        for network in layout.networks:
            gateway = layout.gateways.get(network.version)
            if gateway is not None and not network.hosts[0] <= gateway <= network.hosts[1]:
                spelled = net.text(network.version, gateway)
                raise Invalid(
                    f"subnet {pool.name}: gateway {spelled} is not an address that a router may have in {network}; choose one inside it",
                    reason="InvalidGateway",
                )
        subnet = self._subnets.get(pool.name)
        if not subnet:
            self._subnets[pool.name] = Subnet(pool.name, layout, lambda: random_mac(self._random), self._reserved_macs)
            return []
        lost = [self._lease(subnet, holding) for holding in subnet.reshape(layout)]
        for lease in lost:
            if lease.port not in subnet.ports:
                del self._where[lease.port]
        return lost

    def remove_pool(self, name: str) -> None:
        """Forgets a pool and the leases in it. Nothing happens if there is none."""
        subnet = self._subnets.pop(name, None)
        for port in subnet.ports if subnet else ():
            del self._where[port]

    def allocate(self, request: AddressRequest, pool: str, owner: Key, uid: str) -> Lease:
        """Gives *request.port* an address of each family of *pool*, the ones asked for or the next free ones; if the request
        is *recorded*, just the ones it names.

        The same object (*owner*, *uid*) asking again keeps what it has, unless it asks for something else; so does a new
        object under the port's name if the request is sticky. Otherwise what the port had goes back first.

        Raises Invalid, and changes nothing: ``NoSubnet``, ``InvalidAddress``, ``InvalidMac``, ``AddressOutOfRange``,
        ``AddressConflict``, ``MacConflict``, ``NoAvailableAddress``.
        """
        subnet = self._subnet(pool)
        wish = _wish(request)
        before = self._where.get(request.port)
        if before is None:
            return self._enter(subnet, request.port, owner, uid, wish)
        held = before.ports[request.port]
        keeps = request.sticky or (held.owner, held.uid) == (owner, uid)
        if keeps and before.name in request.pools and _satisfied(held, wish):
            subnet = before
        if keeps and before is subnet:
            settled = _satisfied(held, wish) and held.mac >= 0
            return self._enter(subnet, request.port, owner, uid, None if settled else wish)
        taken = before.release(request.port)
        try:
            return self._enter(subnet, request.port, owner, uid, wish)
        except Invalid:
            if taken:
                before.restore(taken)
            raise

    def adopt(self, lease: Lease) -> Lease:
        """Enters a lease as it was recorded; its addresses may be excluded ones, or the gateway.

        Raises Invalid, and changes nothing: ``NoSubnet``, ``InvalidAddress``, ``InvalidMac``, ``AddressOutOfRange`` if it
        does not fit its pool; ``AddressConflict``, ``MacConflict`` if another port has what it names.
        """
        subnet = self._subnet(lease.pool)
        before = self._where.get(lease.port)
        held = before.ports[lease.port] if before else None
        wish = _wish(AddressRequest(lease.port, (lease.pool,), lease.addresses, lease.mac))
        if not wish.numbers and subnet.spaces:
            raise Invalid(f"the lease of port {lease.port} names no address", reason="InvalidAddress")
        wish = wish._replace(mac=NO_MAC if wish.mac == RANDOM_MAC else wish.mac)
        subnet.admit(lease.port, wish)
        if before and held:
            before.release(lease.port)
        restored = Holding(lease.port, lease.owner, lease.uid, wish.numbers.get(4, -1), wish.numbers.get(6, -1), wish.mac)
        subnet.restore(restored)
        self._where[lease.port] = subnet
        return self._lease(subnet, restored)

    def release(self, port: str) -> Lease | None:
        """Takes back what *port* holds. The answer is what that was; None if nothing."""
        subnet = self._where.pop(port, None)
        held = subnet.release(port) if subnet else None
        return self._lease(subnet, held) if subnet and held else None

    def lease(self, port: str) -> Lease | None:
        subnet = self._where.get(port)
        return self._lease(subnet, subnet.ports[port]) if subnet else None

    def leases(self, pool: str) -> Iterator[Lease]:
        """All leases of *pool*; none if there is no such pool."""
        subnet = self._subnets.get(pool)
        return (self._lease(subnet, held) for held in subnet.ports.values()) if subnet else iter(())

    def holder(self, pool: str, address: str) -> Lease | None:
        """Who holds *address* in *pool*; None if nobody does, or it is no address."""
        subnet = self._subnets.get(pool)
        if not subnet or not net.is_address(address):
            return None
        version, number = net.address(address)
        space = subnet.spaces.get(version)
        held = space.held.get(number) if space else None
        return self._lease(subnet, held) if held else None

    def usage(self, pool: str) -> PoolUsage | None:
        """The counters of *pool*, O(1) but for the texts; None if there is no such pool."""
        subnet = self._subnets.get(pool)
        if not subnet:
            return None
        v4, v6 = ((len(space.held), space.available()) if space else (0, 0) for space in map(subnet.spaces.get, (4, 6)))
        return PoolUsage(*v4, *v6, subnet.spaces)

    def reserve_mac(self, mac: str) -> None:
        """Keeps a MAC (a router port's) from being given out.

        Raises Invalid (``InvalidMac``) if it is none.
        """
        self._reserved_macs.add(_read_mac(mac))

    def _subnet(self, name: str) -> Subnet:
        if name not in self._subnets:
            raise Invalid(f"subnet {name} does not exist or is not valid; create or mend it, or choose another", reason="NoSubnet")
        return self._subnets[name]

    def _enter(self, subnet: Subnet, port: str, owner: Key, uid: str, wish: Wish | None) -> Lease:
        held = subnet.allocate(port, owner, uid, wish) if wish else subnet.ports[port]
        held.owner, held.uid = owner, uid
        self._where[port] = subnet
        return self._lease(subnet, held)

    @staticmethod
    def _lease(subnet: Subnet, held: Holding) -> Lease:
        v4 = net.text(4, held.v4) if held.v4 >= 0 else ""
        v6 = net.text(6, held.v6) if held.v6 >= 0 else ""
        mac = mac_text(held.mac) if held.mac >= 0 else ""
        return Lease(held.port, subnet.name, v4, v6, mac, held.owner, held.uid)


def _satisfied(held: Holding, wish: Wish) -> bool:
    return wish.mac in (RANDOM_MAC, held.mac) and all(held.number(version) == number for version, number in wish.numbers.items())


def _read_mac(mac: str) -> int:
    try:
        number = mac_number(mac)
    except ValueError as error:
        raise Invalid(str(error), reason="InvalidMac") from None
    if number == 0 or number >> 40 & 1:
        raise Invalid(
            f"{mac} is a group or zero MAC address; choose one of a single interface, such as 02:00:00:00:00:01", reason="InvalidMac"
        )
    return number


def _read_addresses(spelled: Iterable[str]) -> dict[int, int]:
    numbers: dict[int, int] = {}
    for part in spelled:
        try:
            address = net.address(part)
        except ValueError as error:
            raise Invalid(f"{error}; write it like 10.0.0.5 or fd00::5", reason="InvalidAddress") from None
        if address.version in numbers:
            raise Invalid(f"{part} is a second IPv{address.version} address; ask for one of a family", reason="InvalidAddress")
        numbers[address.version] = address.value
    return numbers


def _wish(request: AddressRequest) -> Wish:
    numbers = _read_addresses(request.addresses)
    versions = tuple(numbers) if request.recorded else ()
    return Wish(numbers, versions, mac=_read_mac(request.mac) if request.mac else RANDOM_MAC)


__all__ = ["Ipam", "PoolUsage"]
