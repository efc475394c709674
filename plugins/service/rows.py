"""Subnet -> the group on its switch. Service and SwitchLBRule -> balancers and their place in the group of a Vpc."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ovnloom.core.desired.model import Annotation, Child, Contribution, Extend, Lease, Member, Row, RowKey, Slot
from ovnloom.core.kube.objects import Key, key_of, kind_id
from ovnloom.core.names import LOGICAL_ROUTER, LOGICAL_SWITCH
from ovnloom.core.net import Address
from ovnloom.plugins.service.model import (
    HEALTH_CHECK,
    RULE_VIP,
    SERVICES,
    SWITCH_LB_RULES,
    VPC,
    Balancer,
    ClientIp,
    Service,
    SwitchLbRule,
    Target,
    balanced,
    socket,
)

# Kube-OVN's: asked every 5 s, an answer within 20 s, three in a row decide.
HEALTH = {"timeout": "20", "interval": "5", "success_count": "3", "failure_count": "3"}


def group(vpc: str) -> RowKey:
    return RowKey("Load_Balancer_Group", f"cluster-{vpc}")


def group_row(vpc: str) -> Row:
    key = group(vpc)
    return Row(key.table, {"name": key.key})


def on_switch(subnet: str, vpc: str) -> Member:
    return Member(RowKey("Logical_Switch", subnet), "load_balancer_group", group(vpc))


def balancer(made: Balancer, vpc: str) -> Iterator[Contribution]:
    """The row without its VIPs, which are said one by one: a change of one writes that one only."""
    options = {"reject": "true", "event": "false"}
    if made.affinity:
        options["affinity_timeout"] = str(made.affinity)
    if made.protocol == "udp":
        # a client without connections goes on sending from the same port to an endpoint that is gone
        options["ct_flush"] = "true"
    key = RowKey("Load_Balancer", made.name)
    yield Row(key.table, {"name": made.name, "protocol": made.protocol, "options": options})
    for vip, backends in made.vips.items():
        yield Extend(key, "vips", {vip: backends})
    for address, probe in made.probes.items():
        yield Extend(key, "ip_port_mappings", {address: probe})
    for vip in made.checked:
        yield Row("Load_Balancer_Health_Check", {"vip": vip, "options": HEALTH}, Slot(key, "health_check"))
    yield Member(group(vpc), "load_balancer", key)


def home(service: Service, vpc: str) -> Annotation:
    return Annotation(key_of(SERVICES, service), VPC, vpc)


def rule_balancers(rule: SwitchLbRule, found: Iterable[Target], vpc: str, leases: Mapping[str, Lease]) -> Iterator[Balancer]:
    """*leases*: by Subnet, the address from which the health of its backends is asked for."""
    here = [t for t in found if t.vpc in ("", vpc)]
    probes = {
        str(t.address): f"{t.lease.port}:{asking.v4}"
        for t in here
        if t.lease and t.address.version == 4 and (asking := leases.get(t.lease.pool)) and asking.v4
    }
    addresses, ports = rule.addresses, rule.spec.ports
    affinity = ClientIp().timeout_seconds if rule.spec.session_affinity == "ClientIP" else 0
    for made in balanced(f"switch-lb-rule:{rule.metadata.name}", ports, lambda port: addresses, here, affinity):
        if probes and made.protocol in ("tcp", "udp"):
            own = [p for p in ports if p.protocol.lower() == made.protocol]
            yield replace(made, checked=tuple(socket(a, p.port) for p in own for a in addresses if a.version == 4), probes=probes)
        else:
            yield made


def rule_service(rule: SwitchLbRule, vpc: str) -> Child:
    """Headless: Kubernetes finds the pods, and no proxy serves it."""
    namespace, name = rule.service
    spec, notes = rule.spec, rule.metadata.annotations
    ports = [
        {"name": p.name, "port": p.port, "targetPort": p.target_port, "protocol": p.protocol} for p in spec.ports
    ]  # a port without name is fine as long as it is the only one
    copied = {key: notes[key] for key in (LOGICAL_ROUTER, LOGICAL_SWITCH, HEALTH_CHECK) if key in notes}
    manifest = {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {RULE_VIP: spec.vip, VPC: vpc, **copied},
            "ownerReferences": [_owner(rule)],
        },
        # what the API server would fill in is said here, or it would differ for ever
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "ipFamilies": [_family(a) for a in rule.addresses],
            "ipFamilyPolicy": "PreferDualStack" if len(rule.addresses) > 1 else "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "selector": dict(entry.split(":", 1) for entry in spec.selector) if not spec.endpoints else {},
            "ports": ports,
            "sessionAffinity": spec.session_affinity or "None",
            **(
                {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": ClientIp().timeout_seconds}}}
                if spec.session_affinity == "ClientIP"
                else {}
            ),
        },
    }
    return Child(Key(kind_id(SERVICES), namespace, name), manifest)


def _family(address: Address) -> str:
    return f"IPv{address.version}"


def _owner(rule: SwitchLbRule) -> dict[str, object]:
    meta = rule.metadata
    return {"apiVersion": SWITCH_LB_RULES.api_version, "kind": SWITCH_LB_RULES.kind, "name": meta.name, "uid": meta.uid}
