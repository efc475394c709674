"""The executable ``ovnloom``: arguments in, one function called, text or JSON out. Imports are late: each process pays only for its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ovnloom.core.errors import ConfigError

if TYPE_CHECKING:
    from ovnloom.core.config import Config

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The network of a Kubernetes cluster, built on OVN.")

ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="The configuration file; without it, the defaults.")]  # noqa: UP045  # typer reads it at run time on 3.11
Kubeconfig = Annotated[str, typer.Option(help="A kubeconfig; without it, the pod's service account.")]
LogLevel = Annotated[str, typer.Option(help="debug, info, warning or error.")]
TlsDir = Annotated[str, typer.Option(help="A folder with cacert, cert and key, for ssl: remotes.")]

REFUSED = 78  # EX_CONFIG of sysexits.h


def main() -> None:
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(f"ovnloom: {problem}", file=sys.stderr)
        raise SystemExit(REFUSED) from None


@app.command()
def controller(
    nb: Annotated[str, typer.Option(help="The northbound database: unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT, with commas between.")],
    sb: Annotated[str, typer.Option(help="The southbound database; not used yet.")] = "",
    config: ConfigFile = None,
    kubeconfig: Kubeconfig = "",
    tls: TlsDir = "",
    port: Annotated[int, typer.Option(help="Of /healthz, /readyz and /metrics; 0: none.")] = 0,
    log: Annotated[str, typer.Option(help="Ignored; logs go to standard error.", hidden=True)] = "",
    log_level: LogLevel = "info",
) -> None:
    """kube-ovn-controller: makes the northbound database follow the Kubernetes API."""
    from ovnloom.core import plugins
    from ovnloom.core.controller import Controller, Options
    from ovnloom.core.ovn.remote import Tls

    settings = _settings(config, log_level)
    enabled = plugins.load(plugins.CONTROLLER, settings)
    certificates = Tls(*(f"{tls}/{name}" for name in ("key", "cert", "cacert"))) if tls else None
    options = Options(nb=nb, kubeconfig=kubeconfig, tls=certificates, port=port)

    async def run() -> None:
        await Controller(settings, enabled, options).run()

    _until_signal(run())


@app.command()
def agent(
    config: ConfigFile = None,
    kubeconfig: Kubeconfig = "",
    node: Annotated[str, typer.Option(envvar="NODE_NAME", help="This node's name.")] = "",
    cni_socket: Annotated[str, typer.Option(help="Where the CNI binary finds us.")] = "/run/openvswitch/kube-ovn-daemon.sock",
    ovs: Annotated[str, typer.Option(help="The local switch's database.")] = "unix:/run/openvswitch/db.sock",
    port: Annotated[int, typer.Option(help="Of /healthz and /readyz; 0: none.")] = 10665,
    mtu: Annotated[int, typer.Option(help="Of pods; 0: what the tunnels leave.")] = 0,
    conf_dir: Annotated[str, typer.Option(help="Where the runtime looks for network configurations.")] = "/etc/cni/net.d",
    log_level: LogLevel = "info",
) -> None:
    """kube-ovn-cni: makes this node's kernel and switch follow, and serves the CNI."""
    from ovnloom.agent import main as daemon

    settings = _settings(config, log_level)
    if not node:
        raise ConfigError(["--node: which node is this? Give its name, or set NODE_NAME"])
    sockets = {"cni_socket": cni_socket, "ovs_socket": ovs}
    _until_signal(daemon.run(settings, node_name=node, kubeconfig=kubeconfig, conf_dir=conf_dir, port=port, mtu=mtu, **sockets))


@app.command()
def leader(
    nb: Annotated[str, typer.Option(help="The local northbound server: unix:PATH.")],
    sb: Annotated[str, typer.Option(help="The local southbound server: unix:PATH.")],
    northd: Annotated[str, typer.Option(help="The control socket of the local ovn-northd.")],
    namespace: Annotated[str, typer.Option(envvar="POD_NAMESPACE")] = "kube-system",
    pod: Annotated[str, typer.Option(envvar="POD_NAME", help="The pod whose labels say who leads.")] = "",
    kubeconfig: Kubeconfig = "",
    log_level: LogLevel = "info",
) -> None:
    """Labels this ovn-central pod with what its servers lead, so that the Services ovn-nb, ovn-sb and ovn-northd find the leaders."""
    from ovnloom.cli import leader as labels
    from ovnloom.core import log

    log.configure(log_level)
    if not pod:
        raise ConfigError(["--pod: which pod is this? Give its name, or set POD_NAME"])
    _until_signal(labels.label(nb, sb, northd, namespace=namespace, pod=pod, kubeconfig=kubeconfig))


@app.command()
def crds() -> None:
    """Prints the custom resource definitions of all installed plugins, for ``kubectl apply -f -``."""
    for text in _plugin_files("crds"):
        print(text.rstrip(), "---", sep="\n")


@app.command("plugins")
def list_plugins() -> None:
    """Lists the installed plugins and what each has: c = controller side, a = node side."""
    from importlib.metadata import entry_points

    from ovnloom.core.plugins import AGENT, CONTROLLER

    sides: dict[str, str] = {}
    for group, letter in ((CONTROLLER, "c"), (AGENT, "a")):
        for entry in entry_points(group=group):
            sides[entry.name] = sides.get(entry.name, "") + letter
    for name in sorted(sides):
        print(f"{sides[name]:2} {name}")


def _plugin_files(folder: str) -> list[str]:
    from importlib.metadata import entry_points
    from importlib.resources import files

    from ovnloom.core.plugins import CONTROLLER

    found = []
    for entry in sorted(entry_points(group=CONTROLLER), key=lambda e: e.name):
        where = files(entry.module.rpartition(".")[0]) / folder
        if where.is_dir():
            found += [file.read_text() for file in sorted(where.iterdir(), key=lambda f: f.name) if file.name.endswith(".yaml")]
    return found


def _settings(path: Path | None, log_level: str) -> Config:
    from ovnloom.core import config, log

    log.configure(log_level)
    return config.load(path)


def _until_signal(job: Coroutine[Any, Any, None]) -> None:
    """Runs *job* until it ends, or cancels it at SIGTERM and SIGINT and lets it clean up."""

    async def supervised() -> None:
        task = asyncio.ensure_future(job)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    asyncio.run(supervised())
    sys.stderr.flush()
    # threads of the database client may wait for a server that is gone; nothing of theirs is worth waiting for
    os._exit(0)


if __name__ == "__main__":
    main()
