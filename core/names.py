"""Names that more than one part must agree on, spelled once: annotations, labels, rows, groups."""

from __future__ import annotations

VENDOR = "kube-ovn"
CONTROLLER = "kube-ovn-controller"
ANNOTATION = "ovn.kubernetes.io/"

ALLOCATED = ANNOTATION + "allocated"
ROUTED = ANNOTATION + "routed"
IP_ADDRESS = ANNOTATION + "ip_address"
MAC_ADDRESS = ANNOTATION + "mac_address"
CIDR = ANNOTATION + "cidr"
GATEWAY = ANNOTATION + "gateway"
LOGICAL_SWITCH = ANNOTATION + "logical_switch"
LOGICAL_ROUTER = ANNOTATION + "logical_router"
POD_NIC_TYPE = ANNOTATION + "pod_nic_type"
EXCLUDE_IPS = ANNOTATION + "exclude_ips"
IP_POOL = ANNOTATION + "ip_pool"
CHASSIS = ANNOTATION + "chassis"
PORT_NAME = ANNOTATION + "port_name"
SUBNET_LABEL = ANNOTATION + "subnet"
NODE_LABEL = ANNOTATION + "node-name"
RESERVED_LABEL = ANNOTATION + "ip_reserved"
OWNER_UID = "ovnloom.io/owner-uid"  # on IP objects: the uid of the pod or node that holds the address


def pod_port(namespace: str, pod: str) -> str:
    return f"{pod}.{namespace}"


def node_port(node: str) -> str:
    return f"node-{node}"


def router_port(router: str, switch: str) -> str:
    """The router's port towards *switch* (``Logical_Router_Port``)."""
    return f"{router}-{switch}"


def switch_port(switch: str, router: str) -> str:
    """The switch's port towards *router* (``Logical_Switch_Port`` of type router)."""
    return f"{switch}-{router}"


def group(*parts: str) -> str:
    """A port group's or address set's name: OVN allows no ``-`` in it."""
    return ".".join(parts).replace("-", ".")


def node_group(node: str) -> str:
    """Ports of the pods on *node*."""
    return group("node", node)


def gateway_group(node: str) -> str:
    """Ports of the pods whose traffic leaves the cluster by *node* (distributed gateway)."""
    return group("gateway", node)
