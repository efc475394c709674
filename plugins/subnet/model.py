"""Subnets and what pods ask of them: defaults, binding to namespaces, requests in annotations."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace

from ovnloom.core.desired.model import AddressRequest
from ovnloom.core.errors import Invalid, shown
from ovnloom.core.kube.kinds import IPS, NAMESPACES, PODS, STATEFULSETS, SUBNETS, Ip, Pod, StatefulSet, Subnet
from ovnloom.core.kube.objects import Metadata
from ovnloom.core.kube.selectors import matches
from ovnloom.core.names import ALLOCATED, IP_ADDRESS, LOGICAL_SWITCH, MAC_ADDRESS, OWNER_UID, pod_port
from ovnloom.core.net import complete_gateway, family, overlap
from ovnloom.core.net import networks as blocks
from ovnloom.core.view import View

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def defaults(subnet: Subnet, router: str) -> Mapping[str, object]:
    """Fields of ``spec`` that the author left out, as Kube-OVN fills them in. The CIDR is brought to its network address."""
    spec = subnet.spec
    cidr = ",".join(map(str, blocks(spec.cidr_block)))
    gateway = complete_gateway(spec.gateway, cidr)
    wanted: dict[str, object] = {
        "cidrBlock": cidr,
        "gateway": gateway,
        "provider": spec.provider or "ovn",
        "vpc": spec.vpc or router,
        "protocol": family(cidr),
        "excludeIps": [*spec.exclude_ips, *(g for g in gateway.split(",") if g not in spec.exclude_ips)],
    }
    if (spec.vpc or router) == router:
        wanted["gatewayType"] = spec.gateway_type or "distributed"
    held = {
        "cidrBlock": spec.cidr_block,
        "gateway": spec.gateway,
        "provider": spec.provider,
        "vpc": spec.vpc,
        "protocol": spec.protocol,
        "excludeIps": spec.exclude_ips,
        "gatewayType": spec.gateway_type,
    }
    return {field: value for field, value in wanted.items() if held[field] != value}


def bound(namespace: str, view: View) -> list[Subnet]:
    """Subnets that claim *namespace*, by name or by its labels."""
    found = {s.metadata.name: s for s in view.select(SUBNETS, "namespace", namespace)}
    by_label = list(view.select(SUBNETS, "namespace", "*"))
    if by_label:
        holder = view.get(NAMESPACES, namespace)
        labels = holder.metadata.labels if holder else {}
        found |= {s.metadata.name: s for s in by_label if any(matches(selector, labels) for selector in s.spec.namespace_selectors)}
    return [found[name] for name in sorted(found)]


def candidates(pod: Pod, view: View, fallback: str) -> tuple[str, ...]:
    """Names of the Subnets whose addresses *pod* may have, in order.

    A pod may be seen before the Subnet that claims its namespace, so nothing is concluded from a Subnet's absence
    before the cache is known to be as new as the pod (``View.fresh``).
    """
    asked = pod.metadata.annotations.get(LOGICAL_SWITCH, "").strip()
    if asked:
        if view.get(SUBNETS, asked[:253]) is None:
            view.fresh(SUBNETS, pod)
            raise Invalid(
                f"annotation {LOGICAL_SWITCH}: there is no Subnet {shown(asked)}; name an existing one or leave the annotation out",
                reason="SubnetNotFound",
            )
        return (asked,)
    if names := tuple(s.metadata.name for s in bound(pod.metadata.namespace, view)):
        return names
    view.fresh(SUBNETS, pod)
    return (fallback,)


def pod_request(pod: Pod, view: View, fallback: str) -> AddressRequest:
    """What the annotations of *pod* ask for. Raises ``Invalid``.

    Annotations are the author's: only what the IP object, which authors of pods cannot write, says as well was handed out before.
    """
    meta, notes = pod.metadata, pod.metadata.annotations
    port, sticky = pod_port(meta.namespace, meta.name), owner(pod) is not None
    if (lease := view.lease(port)) and lease.uid == meta.uid:
        return AddressRequest(port, (lease.pool,), lease.addresses, lease.mac, recorded=True, sticky=sticky)
    asked = AddressRequest(port, (), addresses(notes.get(IP_ADDRESS, "")), mac(notes.get(MAC_ADDRESS, "")), sticky=sticky)
    asked = replace(asked, field=f"annotation {IP_ADDRESS if asked.addresses else MAC_ADDRESS}")
    if notes.get(ALLOCATED) == "true" and (page := view.get(IPS, port)):
        same = page.spec.ip_address == notes.get(IP_ADDRESS) and page.spec.subnet == notes.get(LOGICAL_SWITCH)
        if same and page.metadata.annotations.get(OWNER_UID, meta.uid) == meta.uid:
            return replace(asked, pools=(page.spec.subnet,), recorded=True)
    return replace(asked, pools=candidates(pod, view, fallback))


def addresses(text: str) -> tuple[str, ...]:
    """``v4``, ``v6`` or ``v4,v6``, in normal form. Raises ``Invalid``."""
    if not text.strip():
        return ()
    parts = [part.strip().split("/")[0] for part in text.split(",")]
    try:
        found = [ipaddress.ip_address(part) for part in parts]
    except ValueError:
        raise Invalid(
            f"annotation {IP_ADDRESS}: {shown(text)} is not an address; write one address, or an IPv4 and an IPv6 one with a comma between",
            reason="InvalidAddress",
        ) from None
    if len({a.version for a in found}) != len(found):
        raise Invalid(f"annotation {IP_ADDRESS}: {shown(text)} has two addresses of one family; keep one of each", reason="InvalidAddress")
    return tuple(str(a) for a in sorted(found, key=lambda a: a.version))


def mac(text: str) -> str:
    if text and not _MAC.fullmatch(text):
        raise Invalid(f"annotation {MAC_ADDRESS}: {shown(text)} is not a MAC address; write it as 02:00:00:aa:bb:cc", reason="InvalidMac")
    return text.lower()


def owner(pod: Pod) -> str | None:
    """The name of the StatefulSet that *pod* belongs to."""
    return next((o.name for o in pod.metadata.owner_references if o.controller and o.kind == "StatefulSet"), None)


def retained(ip: Ip, view: View) -> bool:
    """Whether the address of a StatefulSet's pod waits for that pod's next life: until it is there, has a node and was served."""
    namespace, pod = ip.spec.namespace, ip.spec.pod_name
    if ip.spec.pod_type != "StatefulSet":
        return False
    living, lease = view.get(PODS, pod, namespace), view.lease(ip.metadata.name)
    if living and lease and lease.uid == living.metadata.uid:
        return False
    name, _, ordinal = pod.rpartition("-")
    holder: StatefulSet | None = view.get(STATEFULSETS, name, namespace)
    if holder is None or holder.metadata.deletion_timestamp or not ordinal.isdigit():
        return False
    start = holder.spec.ordinals.start if holder.spec.ordinals else 0
    return start <= int(ordinal) < start + holder.spec.replicas


def networks(cidr: str, gateway: str) -> tuple[str, ...]:
    """``gateway/prefix`` of each family."""
    return tuple(f"{g}/{c.rpartition('/')[2]}" for c, g in zip(cidr.split(","), gateway.split(","), strict=False))


def overlapping(one: Subnet, other: Subnet) -> bool:
    try:
        return overlap(one.spec.cidr_block, other.spec.cidr_block)
    except ValueError:  # the other's is malformed, and that is the other's fault
        return False


def age(meta: Metadata) -> tuple[str, str]:
    """Orders objects: the older is the one that stays."""
    return meta.creation_timestamp or "", meta.name
