"""One subnet's addresses and MACs: both families together, named pools, conflicts. A refused request changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from ovnloom.core import net
from ovnloom.core.errors import Invalid
from ovnloom.core.ipam.mac import mac_text
from ovnloom.core.ipam.ranges import Ranges, of_entries
from ovnloom.core.ipam.space import DEFAULT_POOL, Holding, Space
from ovnloom.core.kube.objects import Key

VERSIONS = (4, 6)
RANDOM_MAC = -2
NO_MAC = -1


class Shape(NamedTuple):
    """How a subnet is laid out, read and checked. No network at all: a subnet that gives out MACs only."""

    networks: tuple[net.Network, ...]
    gateways: Mapping[int, int]  # by IP version
    excluded: Mapping[int, Ranges]


def shape(name: str, cidr: str, gateway: str, exclude: Sequence[str]) -> Shape:
    """Reads the words of a subnet. What cannot be read of *exclude* excludes nothing: it is refused where the author is told.

    Raises Invalid (``InvalidCidr``, ``InvalidGateway``) if *cidr* or *gateway* cannot be read.
    """
    try:
        networks = net.networks(cidr) if cidr else ()
    except ValueError as error:
        raise Invalid(f"subnet {name}: cidrBlock: {error}", reason="InvalidCidr") from None
    gateways = {}
    for part in gateway.split(",") if gateway else ():
        try:
            address = net.address(part)
        except ValueError as error:
            raise Invalid(f"subnet {name}: gateway: {error}", reason="InvalidGateway") from None
        gateways[address.version] = address.value
    if len(networks) == 2 and len(gateways) != 2:
        raise Invalid(f"subnet {name}: gateway {gateway!r} must name one address of each family of {cidr}", reason="InvalidGateway")
    return Shape(networks, gateways, of_entries(exclude, lenient=True))


class Wish(NamedTuple):
    """What is asked for. *numbers*: these addresses, by IP version. *versions*: the families wanted; all of the subnet's
    if empty. *skip*: addresses not to be given. *check* false: an address that somebody holds is shared with them, and
    the gateway's may be had. *mac* is a number, ``RANDOM_MAC`` or ``NO_MAC``."""

    numbers: Mapping[int, int] = {}
    versions: tuple[int, ...] = ()
    pool: str = DEFAULT_POOL
    skip: Mapping[int, Collection[int]] = {}
    mac: int = RANDOM_MAC
    check: bool = True


class Subnet:
    """The books of one subnet. *new_mac* makes a random MAC; it is asked again while somebody has the one it gave.

    *gateway_macs* is a live set of MACs that nobody may have; a set of its own if left out.
    """

    def __init__(self, name: str, layout: Shape, new_mac: Callable[[], int], gateway_macs: set[int] | None = None) -> None:
        self.name = name
        self.shape = layout
        self.ports: dict[str, Holding] = {}
        self.macs: dict[int, Holding] = {}
        self.gateway_macs = gateway_macs if gateway_macs is not None else set()
        self.spaces: dict[int, Space] = {}
        self.pools: dict[str, dict[int, Ranges]] = {}
        self._new_mac = new_mac
        self._lay_out()

    def _lay_out(self) -> None:
        old = self.spaces
        self.spaces = {}
        for network in self.shape.networks:
            version = network.version
            space = Space(network, self.shape.gateways.get(version, -1), self.shape.excluded[version])
            if version in old and old[version].laid_out_as(space):
                self.spaces[version] = old[version]
                continue
            self.spaces[version] = space
            if version in old:
                space.move_in(holding for number in old[version].held for holding in old[version].holders(number))
            space.arrange({name: ranges[version] for name, ranges in self.pools.items()})

    def reshape(self, layout: Shape) -> list[Holding]:
        """Changes the layout. Addresses that are no longer usable are taken from their holders, whose holdings (as they
        were) are the answer. The order of release is forgotten, unless nothing changed.

        Raises Invalid (``InvalidCidr``) if a subnet with addresses is to have none.
        """
        if layout == self.shape:
            return []
        if self.shape.networks and not layout.networks:
            raise Invalid(f"subnet {self.name}: cidrBlock cannot be taken away; make a new subnet instead", reason="InvalidCidr")
        lost: dict[str, Holding] = {}
        fits = {network.version: network for network in layout.networks}
        for version, space in self.spaces.items():
            for number in list(space.held):
                if version in fits and fits[version].usable[0] <= number <= fits[version].usable[1]:
                    continue
                for holding in space.holders(number):
                    lost.setdefault(holding.port, _copy(holding))
                    space.drop(holding)
        for port in lost:
            if (left := self.ports[port]).v4 < 0 and left.v6 < 0:
                self.release(port)
        self.shape = layout
        self._lay_out()
        return list(lost.values())

    def set_pool(self, name: str, entries: Iterable[str]) -> None:
        """Creates or changes a named pool. It takes its addresses out of the default pool.

        Raises Invalid (``InvalidAddress``, ``PoolOverlap``).
        """
        try:
            ranges = of_entries(entries)
        except ValueError as error:
            raise Invalid(f"pool {name} of subnet {self.name}: ips: {error}", reason="InvalidAddress") from None
        for other, theirs in self.pools.items():
            if other != name and any((ranges[version] & theirs[version]).count for version in VERSIONS):
                raise Invalid(
                    f"pool {name} of subnet {self.name} shares addresses with pool {other}; take them out of one", reason="PoolOverlap"
                )
        if self.pools.get(name) == ranges:
            return
        self.pools[name] = ranges
        self._arrange(forget=(name, DEFAULT_POOL))

    def remove_pool(self, name: str) -> None:
        """Gives a pool's addresses back to the default pool. Nothing happens if there is no such pool."""
        if self.pools.pop(name, None) is not None:
            self._arrange(forget=())

    def _arrange(self, forget: Collection[str]) -> None:
        for version, space in self.spaces.items():
            space.arrange({name: ranges[version] for name, ranges in self.pools.items()}, forget)

    def allocate(self, port: str, owner: Key, uid: str, wish: Wish) -> Holding:
        """Gives *port* what is wished, and keeps of what it has what does not contradict.

        Raises Invalid: ``AddressOutOfRange``, ``AddressConflict``, ``NoAvailableAddress``, ``MacConflict``, ``InvalidFamily``.
        """
        if wish.numbers and wish.versions and set(wish.numbers) != set(wish.versions):
            raise Invalid(f"the addresses asked for are not of the families asked for in subnet {self.name}", reason="InvalidFamily")
        current = self.ports.get(port)
        plan = self._addresses(port, current, wish)
        mac = self._mac(port, current, wish)
        holding = current or Holding(port, owner, uid)
        for version, number in plan.items():
            if number != holding.number(version):
                self.spaces[version].drop(holding)
                self.spaces[version].take(number, holding, drawn=version not in wish.numbers)
        if mac != holding.mac:
            self._drop_mac(holding)
            holding.mac = mac
            self.macs.setdefault(mac, holding)
        self.ports[port] = holding
        return holding

    def _addresses(self, port: str, current: Holding | None, wish: Wish) -> dict[int, int]:
        for version in wish.versions or wish.numbers:
            if self.spaces and version not in self.spaces:
                reason = "AddressOutOfRange" if version in wish.numbers else "InvalidFamily"
                raise Invalid(f"subnet {self.name} has no IPv{version} addresses", reason=reason)
        plan = {}
        for version, number in wish.numbers.items():
            self._check_fixed(port, version, number, wish.check)
            plan[version] = number
        for version in wish.versions or self.spaces:
            if version in plan or version not in self.spaces:
                continue
            held = current.number(version) if current else -1
            skip = wish.skip.get(version, ())
            if held >= 0 and held not in skip:
                continue
            found = self.spaces[version].next(wish.pool, skip)
            if found is None:
                where = f"pool {wish.pool} of subnet {self.name}" if wish.pool else f"subnet {self.name}"
                raise Invalid(f"{where} has no free IPv{version} address; make it larger or use another", reason="NoAvailableAddress")
            plan[version] = found
        return plan

    def _check_fixed(self, port: str, version: int, number: int, check: bool, *, gateway_too: bool = False) -> None:
        spelled = net.text(version, number)
        space = self.spaces.get(version)
        if not space or not space.usable(number):
            cidr = ",".join(map(str, self.shape.networks)) or "none"
            raise Invalid(f"{spelled} is not an address of subnet {self.name} ({cidr}); choose one inside it", reason="AddressOutOfRange")
        if not check:
            return
        if number == space.gateway and not gateway_too:
            raise Invalid(f"{spelled} is the gateway of subnet {self.name}; choose another address", reason="AddressConflict")
        for holding in space.holders(number):
            if holding.port != port:
                raise Invalid(
                    f"{spelled} of subnet {self.name} is held by {holding.owner}; choose another address", reason="AddressConflict"
                )

    def _mac(self, port: str, current: Holding | None, wish: Wish) -> int:
        mac = wish.mac
        if mac == NO_MAC and self.spaces:
            return current.mac if current else NO_MAC
        if mac < 0:
            if current and current.mac >= 0 and not any(current.number(version) in numbers for version, numbers in wish.skip.items()):
                return current.mac
            while (made := self._new_mac()) in self.macs or made in self.gateway_macs:
                pass
            return made
        holder = self.macs.get(mac)
        if wish.check and mac in self.gateway_macs:
            raise Invalid(f"MAC {mac_text(mac)} is that of a gateway of subnet {self.name}; choose another", reason="MacConflict")
        if wish.check and holder and holder.port != port:
            raise Invalid(f"MAC {mac_text(mac)} is held by {holder.owner} in subnet {self.name}; choose another", reason="MacConflict")
        return mac

    def admit(self, port: str, wish: Wish) -> None:
        """Could *port* have just what is wished, the gateway's address too?

        Raises Invalid as ``allocate`` does.
        """
        for version, number in wish.numbers.items():
            self._check_fixed(port, version, number, wish.check, gateway_too=True)
        if wish.mac >= 0:
            self._mac(port, None, wish)

    def restore(self, holding: Holding) -> None:
        """Enters what ``release`` gave, or what ``admit`` allows. The port must hold nothing."""
        for version in VERSIONS:
            if (number := holding.number(version)) >= 0:
                self.spaces[version].take(number, holding)
        if holding.mac >= 0:
            self.macs.setdefault(holding.mac, holding)
        self.ports[holding.port] = holding

    def _drop_mac(self, holding: Holding) -> None:
        if self.macs.get(holding.mac) is holding:
            del self.macs[holding.mac]
        holding.mac = NO_MAC

    def release(self, port: str) -> Holding | None:
        """Takes everything back from *port*. The answer is what it held; None if that was nothing."""
        holding = self.ports.pop(port, None)
        if not holding:
            return None
        before = _copy(holding)
        for space in self.spaces.values():
            space.drop(holding)
        self._drop_mac(holding)
        return before


def _copy(holding: Holding) -> Holding:
    return Holding(holding.port, holding.owner, holding.uid, holding.v4, holding.v6, holding.mac)
