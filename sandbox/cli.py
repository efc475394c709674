"""The verbs of `./loom`."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from ovnloom.sandbox import bed, build, cluster, teardown
from ovnloom.sandbox.command import CommandFailed
from ovnloom.sandbox.host import NotReady
from ovnloom.sandbox.paths import default_cache
from ovnloom.sandbox.plan import BadPlan, Options, Plan, Proxy, Stack, load_plan, make_plan
from ovnloom.sandbox.progress import Board
from ovnloom.sandbox.ready import TooLate

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="ovnloom on one machine: a real cluster, and its tests.",
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
DEFAULT_NAME = os.environ.get("OVNLOOM_BED") or "loom"

Name = Annotated[str, typer.Option("--name", help="The bed. Several may run side by side.")]
NoInstall = Annotated[bool, typer.Option("--no-install", help="Name missing Debian packages instead of installing them.")]


def plan_of(name: str, options: Options | None = None) -> Plan:
    return make_plan(default_cache(), name, options or Options())


def running(name: str) -> Plan:
    """The bed called *name*. Raises ``BadPlan`` when there is none."""
    saved = load_plan(default_cache(), name)
    if saved is None:
        raise BadPlan(f"no bed {name!r} is up: ./loom up" + ("" if name == "loom" else f" --name {name}"))
    return saved[0]


@app.command()
def up(
    nodes: Annotated[int, typer.Option(help="How many nodes.")] = 3,
    stack: Annotated[Stack, typer.Option(help="Addresses of nodes, pods and services.")] = "dual",
    proxy: Annotated[Proxy, typer.Option(help="How kube-proxy works.")] = "nftables",
    masters: Annotated[int, typer.Option(help="How many nodes hold OVN's databases: 1, 3 or 5.")] = 1,
    name: Name = DEFAULT_NAME,
    bare: Annotated[bool, typer.Option("--bare", help="Kubernetes alone: no network is installed.")] = False,
    no_install: NoInstall = False,
) -> None:
    """A running cluster with the present code. Does nothing when there is one."""
    begun, plan = time.monotonic(), plan_of(name, Options(nodes, stack, proxy, masters))
    board = Board()
    if bed.up(plan, board, install_packages=not no_install, bare=bare):
        board.say(f"the bed {name!r} is up after {time.monotonic() - begun:.1f} s; try: ./loom kubectl get pods -A -o wide")
    else:
        board.say(f"the bed {name!r} is up already, with the present code: nothing to do")


@app.command()
def down(name: Name = DEFAULT_NAME) -> None:
    """Removes the bed: containers, namespaces, processes, mounts, cgroups, files."""
    begun, plan = time.monotonic(), plan_of(name)
    with plan.cache.lock(f"bed-{name}"):
        left = teardown.down(plan)
    print(f"{time.monotonic() - begun:.1f} s; left: {left}")
    if left:
        raise typer.Exit(1)


@app.command()
def status(name: Name = DEFAULT_NAME) -> None:
    """The bed's nodes, and what of it the kernel has."""
    saved = load_plan(default_cache(), name)
    left = teardown.remains(plan_of(name))
    if saved is None:
        print(f"bed {name!r}: down" if not left else f"bed {name!r}: an `up` that did not come to an end; there is: {left}")
        raise typer.Exit(1)
    plan, facts = saved
    print(f"bed {name!r}: {bed.describe(plan.options, facts.get('bare') == 'yes')}; KUBECONFIG {plan.kubeconfig}")
    for node in bed.nodes(plan):
        state = "Ready" if node.ready else "NotReady"
        print(f"  {node.name}  {state if node.container else 'gone'}  {node.version}  {' '.join(node.addresses)}")
    print(f"  {len(left.containers)} containers, {len(left.spaces)} namespaces, {len(left.processes)} processes, {len(left.mounts)} mounts")


@app.command(name="build")
def build_command(name: Name = DEFAULT_NAME, no_install: NoInstall = False) -> None:
    """Makes everything a bed stands on: programs, Debian folders, images."""
    board = Board()
    build.build_all(plan_of(name), board, install=not no_install)
    board.say("everything is built")


@app.command(context_settings=PASS_ON)
def kubectl(context: typer.Context) -> None:
    """kubectl against the bed $OVNLOOM_BED (default: loom), from its `lan` namespace."""
    plan = running(DEFAULT_NAME)
    argv = cluster.kubectl_argv(plan, *context.args)
    os.execvp(argv[0], argv)


@app.command(name="exec", context_settings=PASS_ON)
def exec_command(context: typer.Context, place: Annotated[str, typer.Argument(help="node1, node2, …, lan or out.")]) -> None:
    """Runs a program on a node, or in the namespaces `lan` and `out`."""
    plan = running(DEFAULT_NAME)
    if place in plan.nodes:
        terminal = ["-t"] if sys.stdin.isatty() else []
        argv = ["runc", "exec", *terminal, plan.space(place), *(context.args or ["sh"])]
    elif place in ("lan", "out"):
        argv = ["ip", "netns", "exec", plan.space(place), *(context.args or ["sh"])]
    else:
        raise BadPlan(f"no place {place!r}: {', '.join([*plan.nodes, 'lan', 'out'])}")
    os.execvp(argv[0], argv)


def main() -> None:
    """Runs the verb; what can go wrong for the user is one sentence, not a traceback."""
    try:
        app(prog_name="loom")
    except (BadPlan, NotReady, CommandFailed, TooLate) as error:
        print(f"loom: {error}", file=sys.stderr)
        sys.exit(1)
