"""A bed on paper: names, addresses, folders. Everything here is computed; nothing is made."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ovnloom.sandbox.paths import Cache

Stack = Literal["ipv4", "dual"]
Proxy = Literal["nftables", "iptables"]

# No dash, so that no bed's names are the beginning of another's.
NAME = re.compile(r"[a-z][a-z0-9]{0,14}")
MAX_NODES = 60
GATEWAY, OUTSIDE = 254, 253


class BadPlan(Exception):
    """The user asked for a bed that cannot be; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose."""

    nodes: int = 3
    stack: Stack = "dual"
    proxy: Proxy = "nftables"
    masters: int = 1

    def check(self) -> None:
        """Raises ``BadPlan``."""
        if not 1 <= self.nodes <= MAX_NODES:
            raise BadPlan(f"--nodes {self.nodes}: a bed has 1 to {MAX_NODES} nodes")
        if self.masters not in (1, 3, 5) or self.masters > self.nodes:
            raise BadPlan(f"--masters {self.masters}: 1, 3 or 5 of the bed's {self.nodes} nodes hold OVN's databases")


@dataclass(frozen=True, slots=True)
class Plan:
    """A bed called *name*. Its namespaces and containers are called `<name>-…`; beds share the same addresses."""

    cache: Cache
    name: str
    options: Options

    @property
    def folder(self) -> Path:
        return self.cache.beds / self.name

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def bin(self) -> Path:
        return self.cache.bin / "current"

    @property
    def cgroup(self) -> str:
        return f"ovnloom-{self.name}"

    def space(self, part: str) -> str:
        """The network namespace, or the container, of a node or of `lan`, `out`."""
        return f"{self.name}-{part}"

    def mine(self, name: str) -> bool:
        """Whether *name* is one of this bed's namespaces or containers, of any size it ever had."""
        return re.fullmatch(rf"{self.name}-(lan|out|seed|bench|node\d+)", name) is not None

    @property
    def nodes(self) -> list[str]:
        return [f"node{number}" for number in range(1, self.options.nodes + 1)]

    @property
    def masters(self) -> list[str]:
        """The nodes that hold OVN's databases."""
        return self.nodes[: self.options.masters]

    @property
    def dual(self) -> bool:
        return self.options.stack == "dual"

    def families(self, v4: str, v6: str) -> str:
        """ "v4,v6", or the first alone."""
        return f"{v4},{v6}" if self.dual else v4

    @property
    def services(self) -> str:
        return self.families("10.96.0.0/12", "fd00:10:96::/112")

    @property
    def pods(self) -> str:
        return self.families("10.16.0.0/16", "fd00:10:16::/112")

    def addresses(self, node: str) -> str:
        """The node's management addresses, "v4,v6" or "v4"."""
        return self.families(management(number_of(node)), management6(number_of(node)))

    @property
    def server(self) -> str:
        """The API server's URL: it runs in the namespace of node1, as on a real control-plane node."""
        return f"https://{management(1)}:6443"

    def save(self, facts: dict[str, str]) -> None:
        """Writes down what the bed is, and *facts* about it, once it runs."""
        state = {"options": asdict(self.options), "facts": facts}
        fresh = self.folder / "bed.json.part"
        fresh.write_text(json.dumps(state, indent=1) + "\n")
        fresh.replace(self.folder / "bed.json")


DNS = "10.96.0.10"


def number_of(node: str) -> int:
    return int(node.removeprefix("node"))


def management(host: int) -> str:
    return f"172.31.0.{host}"


def management6(host: int) -> str:
    return f"fd00:172:31::{host}"


def tunnel(host: int) -> str:
    return f"172.30.0.{host}"


def make_plan(cache: Cache, name: str, options: Options) -> Plan:
    """Raises ``BadPlan`` for a name or options that cannot be."""
    if not NAME.fullmatch(name):
        raise BadPlan(f"--name {name!r}: a bed's name is up to 15 lower-case letters and digits, a letter first")
    options.check()
    return Plan(cache, name, options)


def load_plan(cache: Cache, name: str) -> tuple[Plan, dict[str, str]] | None:
    """The bed as it was saved, with its facts; None when there is none, or its `up` did not come to an end."""
    blank = make_plan(cache, name, Options())
    try:
        state = json.loads((blank.folder / "bed.json").read_text())
        return make_plan(cache, name, Options(**state["options"])), dict(state["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
