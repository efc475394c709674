"""The cluster as an object: what must exist before anybody has made anything hangs on it (default VPC, default Subnets)."""

from __future__ import annotations

from ovnloom.core.kube.objects import Key, Metadata, Object


class Cluster(Object):
    """Rendered once at start, like any object."""


CLUSTER = Key("cluster", "", "cluster")


def cluster() -> Cluster:
    return Cluster(metadata=Metadata(name=CLUSTER.name, uid=CLUSTER.name))
