from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.kinds import PODS
from ovnloom.core.kube.leader import LEASES, Leader, Terms
from ovnloom.core.kube.writer import NotLeader, Writer
from tests.functional.apiserver import ApiServer
from tests.functional.kube.watching import pod, until

pytestmark = pytest.mark.kube

SHORT = Terms(lease=3.0, renew=2.0, retry=0.3)
NAME = "kube-ovn-controller"


class Process:
    """A would-be leader, and what it was told."""

    def __init__(self, client: Client, namespace: str, identity: str, terms: Terms = SHORT) -> None:
        self.told: list[str] = []
        self.leader = Leader(
            client, namespace, NAME, identity, started=lambda: self.told.append("started"), stopped=self._stopped, terms=terms
        )
        self._task: asyncio.Task[None] | None = None

    async def _stopped(self) -> None:
        assert not self.leader.may_write()
        self.told.append("stopped")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        self._task = asyncio.create_task(self.leader.run())
        try:
            yield self
        finally:
            await self.end()

    async def end(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


def lease(apiserver: ApiServer, namespace: str) -> dict[str, Any]:
    return dict(json.loads(apiserver.request("GET", LEASES.path(namespace, NAME)))["spec"])


async def test_a_released_lease_is_taken_without_waiting(client: Client, apiserver: ApiServer, namespace: str) -> None:
    patient = Terms(lease=600.0, renew=300.0, retry=60.0)  # whoever waits for any of these fails
    first, second = Process(client, namespace, "first", patient), Process(client, namespace, "second", patient)
    async with first.running():
        await until(first.leader.may_write)
        async with second.running():
            await until(lambda: second.leader.holder == "first")
            assert (first.told, second.told) == (["started"], [])
            await first.end()
            await until(second.leader.may_write, 1.0)
            assert (first.told, second.told) == (["started", "stopped"], ["started"])
            assert not first.leader.may_write()
            assert lease(apiserver, namespace)["leaseTransitions"] == 1
    assert "holderIdentity" not in lease(apiserver, namespace)


async def test_a_leader_renews(client: Client, apiserver: ApiServer, namespace: str) -> None:
    process = Process(client, namespace, "only")
    async with process.running():
        await until(process.leader.may_write)
        before, deadline = lease(apiserver, namespace), process.leader.deadline
        await until(lambda: process.leader.deadline > deadline)
        after = lease(apiserver, namespace)
    assert after["renewTime"] > before["renewTime"]
    assert (after["acquireTime"], after["leaseTransitions"]) == (before["acquireTime"], before["leaseTransitions"])
    assert process.told == ["started", "stopped"]


CONTENDER = """
import asyncio, sys, structlog
from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.leader import Leader, Terms

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def stopped(): print("stopped", leader.may_write(), flush=True)

async def main():
    global leader
    leader = Leader(Client.load(sys.argv[1]), sys.argv[2], sys.argv[3], "frozen", started=lambda: print("started", flush=True),
                    stopped=stopped, terms=Terms(*map(float, sys.argv[4:])))
    await leader.run()

asyncio.run(main())
"""


def _spawn(kubeconfig: str, namespace: str) -> subprocess.Popen[str]:
    arguments = [kubeconfig, namespace, NAME, *(f"{t}" for t in (SHORT.lease, SHORT.renew, SHORT.retry))]
    return subprocess.Popen([sys.executable, "-c", CONTENDER, *arguments], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


@asynccontextmanager
async def contender(apiserver: ApiServer, namespace: str) -> AsyncIterator[tuple[subprocess.Popen[str], Callable[[], Any]]]:
    """Another process that wants to lead; yields it and its next line."""
    process = _spawn(str(apiserver.kubeconfig), namespace)
    out = process.stdout
    assert out is not None

    async def line() -> str:
        async with asyncio.timeout(20):
            return (await asyncio.to_thread(out.readline)).strip()

    try:
        yield process, line
    finally:
        process.kill()
        process.wait()


async def test_a_frozen_leader_is_deposed_and_knows_it_when_it_wakes(client: Client, apiserver: ApiServer, namespace: str) -> None:
    heir = Process(client, namespace, "heir")
    async with contender(apiserver, namespace) as (frozen, line):
        assert await line() == "started"
        async with heir.running():
            await until(lambda: heir.leader.holder == "frozen")
            os.kill(frozen.pid, signal.SIGSTOP)
            silent = time.monotonic()
            await until(heir.leader.may_write, SHORT.lease + 3)
            assert time.monotonic() - silent > SHORT.renew  # never before the frozen one had stopped by itself
            os.kill(frozen.pid, signal.SIGCONT)
            assert await line() == "stopped False"
            await asyncio.sleep(SHORT.retry * 2)
            assert heir.leader.may_write()
            assert lease(apiserver, namespace)["holderIdentity"] == "heir"


async def test_a_killed_leader_is_followed(client: Client, apiserver: ApiServer, namespace: str) -> None:
    heir = Process(client, namespace, "heir")
    async with contender(apiserver, namespace) as (killed, line):
        assert await line() == "started"
        async with heir.running():
            await until(lambda: heir.leader.holder == "frozen")
            killed.kill()
            await until(heir.leader.may_write, SHORT.lease + 5)


async def test_a_leader_without_server_stops_in_time_and_writes_nothing(apiserver: ApiServer, namespace: str) -> None:
    async with Client.load(str(apiserver.kubeconfig)) as client:
        process = Process(client, namespace, "cut-off")
        async with process.running():
            await until(process.leader.may_write)
            apiserver.stop("kube-apiserver", kill=True)
            try:
                await until(lambda: process.told == ["started", "stopped"], SHORT.renew + 2)
                writes = client.writes
                with pytest.raises(NotLeader):
                    await Writer(client, {}, process.leader.may_write).create(PODS, pod(namespace, "late"))
                assert client.writes <= writes + 1  # the next attempt at the lease
            finally:
                await asyncio.to_thread(apiserver.start, "kube-apiserver")
            await until(process.leader.may_write, 40)
            assert process.told == ["started", "stopped", "started"]


async def test_a_robbed_leader_stops_at_once(client: Client, apiserver: ApiServer, namespace: str) -> None:
    process = Process(client, namespace, "robbed", Terms(lease=600.0, renew=300.0, retry=60.0))
    async with process.running():
        await until(process.leader.may_write)
        robbery = {"spec": {"holderIdentity": "robber"}}
        apiserver.request("PATCH", LEASES.path(namespace, NAME), robbery, content_type="application/merge-patch+json")
        await until(lambda: process.told == ["started", "stopped"], 1.0)
    assert lease(apiserver, namespace)["holderIdentity"] == "robber"  # it does not give back what is not its own


async def test_a_deleted_lease_is_made_again(client: Client, apiserver: ApiServer, namespace: str) -> None:
    process = Process(client, namespace, "only")
    async with process.running():
        await until(process.leader.may_write)
        apiserver.request("DELETE", LEASES.path(namespace, NAME))
        deadline = process.leader.deadline
        await until(lambda: process.leader.deadline > deadline)
        assert lease(apiserver, namespace)["holderIdentity"] == "only"
        assert process.told == ["started"]


class Deaf(Client):
    """Its watches bring nothing."""

    async def watch(self, path: str, params: Mapping[str, str], *, quiet: float = 120.0) -> AsyncGenerator[bytes, None]:
        await asyncio.Event().wait()
        yield b""


async def test_who_hears_nothing_robs_nobody_and_leads_in_the_end(client: Client, apiserver: ApiServer, namespace: str) -> None:
    first = Process(client, namespace, "first")
    async with first.running(), Deaf.load(str(apiserver.kubeconfig)) as deaf:
        await until(first.leader.may_write)
        second = Process(deaf, namespace, "second")
        async with second.running():
            await until(lambda: deaf.requests[Sent("patch", "leases.coordination.k8s.io")])  # it believes that the first is silent
            await asyncio.sleep(SHORT.retry * 2)
            assert (first.told, second.told) == (["started"], [])
            await first.end()
            await until(second.leader.may_write)


async def test_of_many_one_leads(client: Client, namespace: str) -> None:
    processes = [Process(client, namespace, f"p{n}") for n in range(5)]
    leading = set()
    for process in processes:
        process._task = asyncio.create_task(process.leader.run())
    for _ in processes:
        await until(lambda: sum(process.leader.may_write() for process in processes) == 1)
        [one] = [process for process in processes if process.leader.may_write()]
        leading.add(one.leader.identity)
        await one.end()
    assert len(leading) == 5


def test_terms_that_would_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lease \(10 s\) must be longer than renew \(15 s\)"):
        Terms(lease=10, renew=15)
