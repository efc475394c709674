"""What is wrong with a SwitchLBRule by itself: a sentence for each fault, with the field and the way out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ovnloom.core.net import is_address
from ovnloom.plugins.service.model import PROTOCOLS, SwitchLbRule

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(
    r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?:([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
)
LAST_PORT = 65535


def problems(rule: SwitchLbRule) -> Iterator[str]:
    spec = rule.spec
    parts = spec.vip.split(",")
    if not all(map(is_address, parts)) or len(parts) > 2 or len({a.version for a in rule.addresses}) < len(parts):
        yield f"spec.vip: {spec.vip[:100]!r} is not an address, nor an IPv4 and an IPv6 one with a comma between; write it like 10.0.0.5"
    if not _NAMESPACE.fullmatch(rule.service[0]):
        yield f"spec.namespace: {spec.namespace[:60]!r} is not the name of a Namespace"
    for entry in spec.selector:
        if not _LABEL.fullmatch(entry):
            yield f"spec.selector: {entry[:60]!r} is not a label; write it like app:web"
    for entry in spec.endpoints:
        if not is_address(entry):
            yield f"spec.endpoints: {entry[:60]!r} is not an address; write it like 10.0.0.5"
    if not spec.endpoints and not spec.selector:
        yield "spec.selector: neither this nor spec.endpoints says who answers; fill in one of them"
    if not spec.ports:
        yield "spec.ports: is empty; name at least one port"
    if spec.session_affinity not in ("", "None", "ClientIP"):
        yield f"spec.sessionAffinity: {spec.session_affinity[:40]!r} is unknown; choose None or ClientIP"
    yield from _ports(rule)


def _ports(rule: SwitchLbRule) -> Iterator[str]:
    seen = set()
    for index, port in enumerate(rule.spec.ports):
        where = f"spec.ports[{index}]"
        for field, number in (("port", port.port), ("targetPort", port.target_port)):
            if not isinstance(number, int) or not 0 < number <= LAST_PORT:
                yield f"{where}.{field}: {number!r} is not a port; give a number from 1 to {LAST_PORT}"
        if port.protocol not in PROTOCOLS:
            yield f"{where}.protocol: {port.protocol[:40]!r} is unknown; choose {', '.join(PROTOCOLS)}"
        if (port.port, port.protocol) in seen:
            yield f"{where}.port: {port.port}/{port.protocol[:40]} is there twice; keep one"
        seen.add((port.port, port.protocol))
