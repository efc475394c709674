"""IP objects: the ledger of who holds which address. One page for each lease; there is no other database."""

from __future__ import annotations

from collections.abc import Mapping

from ovnloom.core.desired.model import Child, Lease
from ovnloom.core.kube.kinds import IPS
from ovnloom.core.kube.objects import Key, kind_id
from ovnloom.core.names import NODE_LABEL, OWNER_UID, RESERVED_LABEL, SUBNET_LABEL


def ip_object(
    lease: Lease, *, pod: str, namespace: str, node: str, pod_type: str = "", owners: tuple[Mapping[str, object], ...] = ()
) -> Child:
    """The ledger's page for one lease."""
    metadata: dict[str, object] = {
        "name": lease.port,
        "labels": {SUBNET_LABEL: lease.pool, NODE_LABEL: node, RESERVED_LABEL: "false", lease.pool: ""},
        "annotations": {OWNER_UID: lease.uid},
    }
    if owners:
        metadata["ownerReferences"] = list(owners)
    spec = {
        "podName": pod,
        "namespace": namespace,
        "nodeName": node,
        "subnet": lease.pool,
        "ipAddress": lease.text,
        "v4IpAddress": lease.v4,
        "v6IpAddress": lease.v6,
        "macAddress": lease.mac,
        "podType": pod_type,
        "attachIps": [],
        "attachMacs": [],
        "attachSubnets": [],
        "containerID": "",
    }
    manifest = {"apiVersion": IPS.api_version, "kind": IPS.kind, "metadata": metadata, "spec": spec}
    return Child(Key(kind_id(IPS), "", lease.port), manifest)
