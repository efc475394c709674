"""A World whose transactions are done once more in a real database, with the same UUIDs."""

from __future__ import annotations

from typing import Any

from ovnloom.core.kube.kinds import PODS
from ovnloom.core.kube.objects import Kind
from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.ops import Unit
from ovnloom.core.ovn.session import Session
from ovnloom.core.testing import World
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.service.plugin import ServicePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin
from tests.functional.ovn_server import Ovn
from tests.plugins.conftest import NODE


class _World(World):
    def __init__(self, *plugins: Any) -> None:
        self.units: list[list[Unit]] = []
        super().__init__(*plugins)

    def commit(self, units: Any) -> Any:
        self.units.append(list(units))
        return super().commit(units)


class Bridge:
    def __init__(self, ovn: Ovn, session: Session) -> None:
        self.ovn, self._session = ovn, session
        self.world = _World(VpcPlugin, SubnetPlugin, NodePlugin, ServicePlugin)
        self._manifests: list[Any] = [NODE]

    async def apply(self, *manifests: Any) -> None:
        """Returns when ovn-northd has compiled what came of it."""
        self.world.apply(*self._manifests, *manifests)
        self._manifests = []
        await self._commit()

    async def delete(self, kind: Kind[Any], name: str, namespace: str = "") -> None:
        self.world.delete(kind, name, namespace)
        await self._commit()

    async def _commit(self) -> None:
        batches, self.world.units = self.world.units, []
        for units in filter(None, batches):
            results = await self._session.commit(units)
            assert all(r.outcome is Outcome.COMMITTED for r in results), [r.reason for r in results]
        self.ovn.nbctl("--wait=sb", "sync")

    def address(self, pod: str, namespace: str = "default") -> str:
        found: str = self.world.get(PODS, pod, namespace).metadata.annotations["ovn.kubernetes.io/ip_address"]
        return found

    def packet(self, pod: str, to: str, port: int, protocol: str = "tcp", *options: str) -> str:
        """What becomes of a packet of *pod* in the default namespace, sent to the router as to any address of another network."""
        notes = self.world.get(PODS, pod, "default").metadata.annotations
        switch = notes["ovn.kubernetes.io/logical_switch"]
        router = self.ovn.nbctl("--bare", "--columns=mac", "find", "Logical_Router_Port", f"name=ovn-cluster-{switch}").strip()
        version = 6 if ":" in to else 4
        source = next(a for a in notes["ovn.kubernetes.io/ip_address"].split(",") if (":" in a) == (version == 6))
        fields = [
            f'inport == "{pod}.default"',
            f"eth.src == {notes['ovn.kubernetes.io/mac_address']}",
            f"eth.dst == {router}",
            f"ip{version}.src == {source}",
            f"ip{version}.dst == {to}",
            "ip.ttl == 64",
            f"{protocol}.dst == {port}",
            f"{protocol}.src == 40000",
        ]
        return self.ovn.trace("--ct=new", *options, switch, " && ".join(fields))
