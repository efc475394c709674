"""Plays recorded allocation traces on our books. See ``tests/vectors`` and ``docs/ipam.md``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from ovnloom.core import net
from ovnloom.core.errors import Invalid
from ovnloom.core.ipam.mac import mac_number, mac_text, random_mac
from ovnloom.core.ipam.ranges import of_entries, of_numbers
from ovnloom.core.ipam.space import Space
from ovnloom.core.ipam.subnet import NO_MAC, RANDOM_MAC, Shape, Subnet, Wish, shape
from ovnloom.core.kube.objects import Key

VECTORS = Path(__file__).parents[2] / "vectors"

KINDS = {
    "NoAvailableAddress": "no_available",
    "AddressConflict": "conflict",
    "MacConflict": "conflict",
    "AddressOutOfRange": "out_of_range",
    "InvalidAddress": "invalid_address",
    "InvalidCidr": "invalid_cidr",
    "InvalidGateway": "invalid_gateway",
    "InvalidFamily": "invalid_family",
    "NoSubnet": "no_subnet",
    "PoolOverlap": "pool_overlap",
}
FAMILIES = {"": (), "ipv4": (4,), "IPv4": (4,), "ipv6": (6,), "IPv6": (6,)}


def traces() -> Iterator[dict[str, Any]]:
    with gzip.open(VECTORS / "ipam.jsonl.gz", "rt") as lines:
        for line in lines:
            yield json.loads(line)


def pod_key(pod: str) -> Key:
    namespace, _, name = pod.rpartition("/")
    return Key("pods", namespace, name)


def usage(space: Space | None) -> list[str]:
    if not space:
        return ["0", "0", "", ""]
    counted = space.usage()
    return [str(counted.available), str(counted.using), counted.available_ranges, counted.using_ranges]


class Player:
    """One trace's allocator. ``play`` answers a step as the recording does; MACs made here are renamed by appearance."""

    def __init__(self) -> None:
        self.subnets: dict[str, Subnet] = {}
        self._random = Random(1)
        self._made: dict[int, str] = {}
        self._fixed: set[int] = set()
        self._state: dict[str, list[str]] = {}

    def play(self, step: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any]
        try:
            answer = {"ok": getattr(self, step["op"])(step)}
        except Invalid as error:
            answer = {"err": KINDS[error.reason]}
        state = {name: usage(subnet.spaces.get(4)) + usage(subnet.spaces.get(6)) for name, subnet in self.subnets.items()}
        names = state.keys() | self._state.keys()
        if changed := {name: state.get(name) for name in names if state.get(name) != self._state.get(name)}:
            answer["s"] = changed
        self._state = state
        return answer

    def _subnet(self, name: str) -> Subnet:
        if name not in self.subnets:
            raise Invalid(f"no subnet {name}", reason="NoSubnet")
        return self.subnets[name]

    def _mac(self, number: int) -> str:
        if number < 0:
            return ""
        if number in self._fixed:
            return mac_text(number)
        return self._made.setdefault(number, f"m{len(self._made) + 1}")

    def add_subnet(self, step: dict[str, Any]) -> bool:
        name = step["name"]
        layout: Shape = shape(name, step["cidr"], step["gw"], step["exclude"])
        if name in self.subnets:
            self.subnets[name].reshape(layout)
        else:
            self.subnets[name] = Subnet(name, layout, lambda: random_mac(self._random))
        return True

    def del_subnet(self, step: dict[str, Any]) -> bool:
        self.subnets.pop(step["name"], None)
        return True

    def _allocate(self, step: dict[str, Any], **wish: Any) -> list[str]:
        if step["family"] not in FAMILIES:
            raise Invalid("family", reason="InvalidFamily")
        mac = RANDOM_MAC if step["mac"] is None else NO_MAC
        if step["mac"]:
            mac = mac_number(step["mac"])
            self._fixed.add(mac)
        asked = Wish(versions=FAMILIES[step["family"]], mac=mac, check=step["check"], **wish)
        held = self._subnet(step["subnet"]).allocate(step["nic"], pod_key(step["pod"]), "", asked)
        asked_for = asked.versions or (4, 6)
        v4, v6 = (net.text(v, held.number(v)) if v in asked_for and held.number(v) >= 0 else "" for v in (4, 6))
        return [v4, v6, self._mac(held.mac)]

    def random(self, step: dict[str, Any]) -> list[str]:
        skip: dict[int, set[int]] = {4: set(), 6: set()}
        for entry in step["skip"]:
            address = net.address(entry)
            skip[address.version].add(address.value)
        return self._allocate(step, pool=step["pool"], skip=skip)

    def static(self, step: dict[str, Any]) -> list[str]:
        numbers: dict[int, int] = {}
        mac_only = not self._subnet(step["subnet"]).spaces
        for part in () if mac_only and not step["ip"] else step["ip"].split(","):
            try:
                address = net.address(part)
            except ValueError as error:
                raise Invalid(str(error), reason="InvalidAddress") from None
            numbers[address.version] = address.value
        return self._allocate(step, numbers=numbers)

    def _chosen(self, step: dict[str, Any]) -> list[Subnet]:
        return [self.subnets[name] for name in ([step["subnet"]] if step["subnet"] else self.subnets) if name in self.subnets]

    def release_pod(self, step: dict[str, Any]) -> bool:
        for subnet in self._chosen(step):
            for holding in [h for h in subnet.ports.values() if h.owner == pod_key(step["pod"])]:
                subnet.release(holding.port)
        return True

    def release_nic(self, step: dict[str, Any]) -> bool:
        for subnet in self._chosen(step):
            subnet.release(step["nic"])
        return True

    def add_pool(self, step: dict[str, Any]) -> bool:
        self._subnet(step["subnet"]).set_pool(step["name"], step["ips"])
        return True

    def del_pool(self, step: dict[str, Any]) -> bool:
        if step["subnet"] in self.subnets:
            self.subnets[step["subnet"]].remove_pool(step["name"])
        return True

    def pool_stats(self, step: dict[str, Any]) -> list[str]:
        answer = []
        subnet = self.subnets.get(step["subnet"])
        for version in (4, 6):
            space = subnet.spaces.get(version) if subnet else None
            if not space or step["name"] not in space.pools:
                answer += ["0", "0", "", ""]
                continue
            counted = space.pool_usage(step["name"])
            answer += [str(counted.available), str(counted.using), counted.available_ranges, counted.using_ranges]
        return answer

    def pod_addresses(self, step: dict[str, Any]) -> list[list[str]]:
        found = []
        for name, subnet in self.subnets.items():
            for held in [h for h in subnet.ports.values() if h.owner == pod_key(step["pod"])]:
                found += [[name, net.text(v, held.number(v)), self._mac(held.mac)] for v in (4, 6) if held.number(v) >= 0]
        return sorted(found)

    def contains(self, step: dict[str, Any]) -> bool:
        if not net.is_address(step["ip"]):
            return False
        address = net.address(step["ip"])
        return any(address.version in s.spaces and address.value in s.spaces[address.version].held for s in self.subnets.values())

    def assigned_to_other(self, step: dict[str, Any]) -> list[Any]:
        if not net.is_address(step["ip"]):
            return ["", False]
        address = net.address(step["ip"])
        subnet = self.subnets.get(step["subnet"])
        space = subnet.spaces.get(address.version) if subnet else None
        owners = [f"{h.owner.namespace}/{h.owner.name}" for h in space.holders(address.value)] if space else []
        others = [owner for owner in owners if owner != step["pod"]]
        return [",".join(others), bool(others)]

    def gateway_mac(self, step: dict[str, Any]) -> bool:
        mac = mac_number(step["mac"])
        self._fixed.add(mac)
        self._subnet(step["subnet"]).gateway_macs.add(mac)
        return True

    def range_strings(self, step: dict[str, Any]) -> list[str]:
        excluded = of_entries(step["exclude"], lenient=True)
        using, available = [], []
        subnet = self.subnets.get(step["subnet"])
        for version in (4, 6):
            space = subnet.spaces.get(version) if subnet else None
            if not space:
                using.append("")
                available.append("")
                continue
            using.append((of_numbers(space.held) - excluded[version]).text(version))
            available.append((space.free_ranges() - excluded[version]).text(version))
        return using + available
