"""The answer to ADD, in the version that was asked for (CNI specification, "Success")."""

from __future__ import annotations

import msgspec

from ovnloom.agent.nic import Nic

_DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


def added(nic: Nic, sandbox: str, version: str) -> bytes:
    """The result of ADD of *nic* into the network namespace at *sandbox*.

    Versions before 1.0.0 say the family of each address, 1.1.0 says the MTU.
    """
    interface: dict[str, object] = {"name": nic.name, "mac": nic.mac, "sandbox": sandbox}
    if version >= "1.1.0":
        interface["mtu"] = nic.mtu
    gateways = {_family(gateway): gateway for gateway in nic.gateways}
    ips = []
    for address in nic.addresses:
        family = _family(address)
        ip: dict[str, object] = {"address": address, "interface": 0}
        if gateway := gateways.get(family):
            ip["gateway"] = gateway
        if version < "1.0.0":
            ip["version"] = str(family)
        ips.append(ip)
    routes = [{"dst": _DEFAULTS[family], "gw": gateway} for family, gateway in gateways.items()]
    return msgspec.json.encode({"cniVersion": version, "interfaces": [interface], "ips": ips, "routes": routes, "dns": {}})


def _family(address: str) -> int:
    return 6 if ":" in address else 4
