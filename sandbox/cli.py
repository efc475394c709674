"""The verbs of `./loom`."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Literal

import typer

from ovnloom.sandbox import bed, build, checks, cluster, teardown
from ovnloom.sandbox import bench as bench_run
from ovnloom.sandbox import conformance as conformance_suite
from ovnloom.sandbox import dev as dev_loop
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
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}
WITH_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}
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


def words_after(verb: str) -> list[str]:
    """The words of the command line as they are: the parser would swallow a `--` that is meant for another program."""
    return sys.argv[sys.argv.index(verb) + 1 :]


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
def kubectl() -> None:
    """kubectl against the bed $OVNLOOM_BED (default: loom), from its `lan` namespace."""
    plan = running(DEFAULT_NAME)
    argv = cluster.kubectl_argv(plan, *words_after("kubectl"))
    os.execvp(argv[0], argv)


@app.command(name="exec", context_settings=PASS_ON)
def exec_command(place: Annotated[str, typer.Argument(help="node1, node2, …, lan or out.")]) -> None:
    """Runs a program on a node, or in the namespaces `lan` and `out`."""
    plan, words = running(DEFAULT_NAME), words_after("exec")[1:] or ["sh"]
    if place in plan.nodes:
        terminal = ["-t"] if sys.stdin.isatty() else []
        argv = ["runc", "exec", *terminal, plan.space(place), *words]
    elif place in ("lan", "out"):
        argv = ["ip", "netns", "exec", plan.space(place), *words]
    else:
        raise BadPlan(f"no place {place!r}: {', '.join([*plan.nodes, 'lan', 'out'])}")
    os.execvp(argv[0], argv)


@app.command()
def dev(
    name: Name = DEFAULT_NAME,
    once: Annotated[bool, typer.Option("--once", help="Bring the present code and end.")] = False,
) -> None:
    """Brings changed code into all pods of ours, and goes on doing so until Ctrl-C."""
    plan, board = running(name), Board()
    if not dev_loop.bring(plan, board):
        board.say("the pods have the present code")
    if not once:
        board.say("watching the sources; Ctrl-C ends it")
        dev_loop.watch(plan, board)


@app.command(context_settings=WITH_ARGUMENTS)
def test(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="fast, ovn, node, e2e or all; what follows goes to pytest.")] = "all",
) -> None:
    """Linters and tests; closes with pytest's line. Builds and boots what the kind needs."""
    if kind not in checks.MARKS:
        raise BadPlan(f"no kind of test {kind!r}: {', '.join(checks.MARKS)}")
    words = [word for word in context.args if word != "--no-install"]
    raise typer.Exit(checks.run(plan_of(DEFAULT_NAME), Board(), kind, words, install=len(words) == len(context.args)))


@app.command()
def conformance(
    focus: Annotated[str, typer.Argument(help="A regular expression over the names of specs.")] = conformance_suite.CONFORMANCE,
    skip: Annotated[str, typer.Option(help="A regular expression for specs to leave out.")] = "",
    procs: Annotated[int, typer.Option(min=1, help="How many specs at once.")] = 4,
    name: Name = DEFAULT_NAME,
) -> None:
    """Kubernetes' own end-to-end suite against the bed, as a table; by default the 45 network conformance specs."""
    if not conformance_suite.run(running(name), Board(), focus, skip, procs):
        raise typer.Exit(1)


@app.command(context_settings=WITH_ARGUMENTS)
def bench(context: typer.Context) -> None:
    """The control plane under load, without kubelets; arguments go to tests/bench/bench.py, without any: 1,000 pods, twice."""
    if not bench_run.bench(plan_of(DEFAULT_NAME), Board(), context.args, install=True):
        raise typer.Exit(1)


@app.command()
def node(
    verb: Annotated[Literal["destroy", "boot"], typer.Argument()],
    place: Annotated[str, typer.Argument(help="node2, …")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Destroys a node with its disk, or boots it again with an empty one. The control plane stays."""
    plan = running(name)
    if place not in plan.nodes:
        raise BadPlan(f"no node {place!r}: {', '.join(plan.nodes)}")
    if verb == "destroy":
        teardown.down_node(plan, place)
    else:
        cluster.boot_node(plan, place)


def main() -> None:
    """Runs the verb; what can go wrong for the user is one sentence, not a traceback."""
    try:
        app(prog_name="loom")
    except (BadPlan, NotReady, CommandFailed, TooLate) as error:
        print(f"loom: {error}", file=sys.stderr)
        sys.exit(1)
