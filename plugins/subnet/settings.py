"""The section ``subnet`` of the configuration file, as the controller and the agent both read it."""

from __future__ import annotations

from ovnloom.core.config import Settings


class SubnetConfig(Settings):
    """*cidr*, *gateway* and *exclude_ips* are of the default Subnet, made at first start; afterwards the Subnet object counts.

    *masquerade_services*: replies to what kube-proxy sent on to a pod must come back through the node that did so, so such
    traffic gets the node's address as source. Stays on beside OVN's load balancers: some Services are kube-proxy's all the same.
    """

    cidr: str = "10.16.0.0/16"
    gateway: str = ""
    exclude_ips: tuple[str, ...] = ()
    masquerade_services: bool = True
