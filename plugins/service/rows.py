"""Subnet -> the group on its switch. Service -> balancers, their place in the group, its annotation."""

from __future__ import annotations

from collections.abc import Iterator

from ovnloom.core.desired.model import Annotation, Contribution, Extend, Member, Row, RowKey
from ovnloom.core.kube.objects import key_of
from ovnloom.plugins.service.model import SERVICES, VPC, Balancer, Service


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
    yield Member(group(vpc), "load_balancer", key)


def home(service: Service, vpc: str) -> Annotation:
    return Annotation(key_of(SERVICES, service), VPC, vpc)
