#!/usr/bin/env python3
"""Takes everything of the product off this node, after its pods have ended: run by the chart's post-delete hook, in the node's
network, process and (at /host) some of its file namespaces. Works when it is run again and when there is nothing left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

HOST = Path("/host")
DAEMONS = {"ovsdb-server", "ovs-vswitchd", "ovn-controller", "ovn-northd", "ovnloom"}
LINKS = ("ovn0", "br-int", "br-phy", "ovs-netdev", "genev_sys_6081", "vxlan_sys_4789")
TABLE = ("inet", "ovnloom")
PATIENCE = 60.0  # seconds


def run(*words: str) -> bool:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    print(" ".join(words), "" if done.returncode == 0 else f"-> {done.stderr.strip()}", flush=True)
    return done.returncode == 0


def names_of_processes(proc: Path = Path("/proc")) -> set[str]:
    found = set()
    for comm in proc.glob("[0-9]*/comm"):
        try:
            found.add(comm.read_text().strip())
        except OSError:  # it has just ended
            continue
    return found


def wait_for_daemons() -> None:
    until = time.monotonic() + PATIENCE
    while left := DAEMONS & names_of_processes():
        if time.monotonic() > until:
            sys.exit(f"still running after {PATIENCE:g} s: {', '.join(sorted(left))}; what they hold cannot be removed")
        time.sleep(0.2)


def borrowed(database: Path) -> dict[str, str]:
    """What start-ovs.sh noted on br-phy: *nic*, *addresses*, *routes*. Empty if br-phy took over nothing."""
    question = ["Open_vSwitch", {"op": "select", "table": "Bridge", "where": [["name", "==", "br-phy"]], "columns": ["external_ids"]}]
    if not database.exists():
        return {}
    words = ["ovsdb-tool", "query", str(database), json.dumps(question)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        print(f"{database} cannot be read, what br-phy took over is not given back: {answer.stderr.strip()}", flush=True)
        return {}
    rows = json.loads(answer.stdout)[0]["rows"]
    return dict(rows[0]["external_ids"][1]) if rows else {}


def give_back(noted: dict[str, str]) -> None:
    nic = noted.get("nic", "")
    if not nic or not Path("/sys/class/net", nic).exists():
        return
    run("ip", "link", "set", nic, "up")
    for address in noted.get("addresses", "").split():
        run("ip", "address", "replace", address, "dev", nic, *(["nodad"] if ":" in address else []))
    for route in noted.get("routes", "").split(";"):
        if route.strip():
            run("ip", "route", "replace", *route.split(), "dev", nic)


def empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        for entry in folder.iterdir() if folder.is_dir() else ():
            print(f"removing {entry}", flush=True)
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


def main() -> None:
    # First of all the runtime must stop to ask a plugin that is not served any more.
    for file in (HOST / "cni-conf/01-kube-ovn.conflist", HOST / "cni-bin/kube-ovn"):
        file.unlink(missing_ok=True)
    wait_for_daemons()
    noted = borrowed(HOST / "openvswitch/conf.db")
    for link in LINKS:
        if Path("/sys/class/net", link).exists():
            run("ip", "link", "delete", link)
    if Path("/sys/module/openvswitch").exists():
        run("ovs-dpctl", "del-dp", "ovs-system")
    give_back(noted)
    if run("nft", "list", "table", *TABLE):
        run("nft", "delete", "table", *TABLE)
    empty(HOST / name for name in ("openvswitch", "ovn", "run-openvswitch", "run-ovn"))
    print("clean", flush=True)


if __name__ == "__main__":
    main()
