"""The section ``node`` of the configuration file, as the controller and the agent both read it."""

from __future__ import annotations

from ovnloom.core.config import Settings


class NodeConfig(Settings):
    """Of the join Subnet, made at first start; afterwards the Subnet object counts."""

    cidr: str = "100.64.0.0/16"
    gateway: str = ""
