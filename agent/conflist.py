"""The CNI configuration list that tells the container runtime of us. Written when the agent can serve, never before:
the kubelet takes a node with a configuration for a node with a network."""

from __future__ import annotations

import json
from pathlib import Path

FILE = "01-kube-ovn.conflist"


def render(server_socket: str) -> str:
    """Kube-OVN's list. ``snat``: a host port must also answer to the node itself."""
    plugins = [
        {"type": "kube-ovn", "server_socket": server_socket},
        {"type": "portmap", "snat": True, "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"name": "kube-ovn", "cniVersion": "1.0.0", "plugins": plugins}, indent=2) + "\n"


def write(folder: Path, server_socket: str) -> bool:
    """Puts the list into *folder* in one step, unless it is there already. ``True`` if it was written. Raises ``OSError``."""
    path, text = folder / FILE, render(server_socket)
    try:
        if path.read_text() == text:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    fresh = folder / f".{FILE}.new"  # the runtime reads no hidden files
    fresh.write_text(text)
    fresh.replace(path)
    return True
