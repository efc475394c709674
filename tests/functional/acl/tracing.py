"""The rows of a World in real databases, and packets that ovn-trace follows through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.batcher import Outcome
from ovnloom.core.ovn.ops import Op, Unit
from ovnloom.core.ovn.session import Session
from ovnloom.core.testing import World
from tests.functional.ovn_server import Ovn
from tests.plugins.acl.ovnmatch import Packet

SWITCH, ROUTER_PORT = "ovn-default", "ovn-default-ovn-cluster"


class Recorder:
    """Keeps each transaction of a World, to be committed once more where it counts."""

    def __init__(self, world: World) -> None:
        self.world, self.transactions = world, list[list[Op]]()
        self._commit = world.database.commit
        world.database.commit = self._note  # type: ignore[method-assign]  # an observer in between, the database is the same

    def _note(self, ops: Iterable[Op]) -> None:
        self.transactions.append(list(ops))
        self._commit(self.transactions[-1])

    async def write(self, session: Session) -> None:
        """Commits what was not yet."""
        for ops in self.transactions:
            if ops:
                [result] = await session.commit([Unit(Key("things", "", "all"), tuple(ops))])
                assert result.outcome is Outcome.COMMITTED, result.reason
        self.transactions.clear()


@dataclass(frozen=True)
class Tracer:
    """*ovn* compiled what *world* wants."""

    world: World
    ovn: Ovn

    def mac(self, port: str) -> str:
        [addresses] = self.world.rows("Logical_Switch_Port")[port]["addresses"]  # type: ignore[misc]
        return str(addresses).split()[0]

    def router_mac(self, port: str) -> str:
        return str(self.world.rows("Logical_Router_Port")[port]["mac"])

    def passes(self, packet: Packet, *, switch: str = SWITCH, router: str = "ovn-cluster", ct: str = "new") -> bool:
        """Whether the packet reaches its pod, or, to somebody outside, the router."""
        outside = self.router_mac(f"{router}-{switch}")
        source = self.mac(packet.inport) if packet.inport else outside
        target = self.mac(packet.outport) if packet.outport else outside
        inport = packet.inport or f"{switch}-{router}"
        family = "ip6" if ":" in packet.src else "ip4"
        flow = " && ".join(
            [
                f'inport == "{inport}"',
                f"eth.src == {source}",
                f"eth.dst == {target}",
                f"{family}.src == {packet.src}",
                f"{family}.dst == {packet.dst}",
                "ip.ttl == 64",
                f"{packet.protocol}.dst == {packet.port}",
            ]
        )
        seen = self.ovn.trace("--detailed", *([f"--ct={ct}"] * 6), switch, flow)
        if packet.outport:
            return f'output to "{packet.outport}"' in seen
        return f'ingress(dp="{router}"' in seen
