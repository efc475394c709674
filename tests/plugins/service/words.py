"""Short ways to say Services and slices."""

from __future__ import annotations

from typing import Any

from ovnloom.core.testing import World


def service(name: str = "web", namespace: str = "default", *, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """With port 80, unless *spec* says others, at 10.96.0.10."""
    whole = {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{"port": 80, "protocol": "TCP"}], **spec}
    if "clusterIPs" not in spec and "clusterIP" in spec:
        whole["clusterIPs"] = [spec["clusterIP"]]
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": whole}


def endpoint(address: str, pod: str = "", *, node: str = "n1", **conditions: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": [address], "conditions": {"ready": True, **conditions}, "nodeName": node}
    return {**found, "targetRef": {"kind": "Pod", "name": pod}} if pod else found


def piece(
    *endpoints: dict[str, Any], of: str = "web", namespace: str = "default", name: str = "", ports: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """An EndpointSlice; of IPv6 if its first address is."""
    family = "IPv6" if endpoints and ":" in endpoints[0]["addresses"][0] else "IPv4"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or f"{of}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": ports or [{"name": "", "protocol": "TCP", "port": 8080}],
    }


def vips(world: World, name: str = "default/web:tcp") -> dict[str, str]:
    row = world.rows("Load_Balancer").get(name)
    return dict(row["vips"]) if row else {}


def members(world: World, vpc: str = "ovn-cluster") -> set[str]:
    """Names of the balancers that pods of *vpc* meet."""
    group = world.rows("Load_Balancer_Group").get(f"cluster-{vpc}")
    names = {row.uuid: name for name, row in world.rows("Load_Balancer").items()}
    return {names[uuid] for uuid in group["load_balancer"]} if group else set()
