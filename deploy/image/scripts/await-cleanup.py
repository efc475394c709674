#!/opt/ovnloom/bin/python
"""Waits until the clean-up has ended on every node: until all pods of the DaemonSet NAMESPACE/NAME are Ready. Prints who is missing."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from ovnloom.core.errors import ConfigError
from ovnloom.core.kube.client import ApiError, Client

INTERVAL = 1.0  # seconds; a hook that runs once needs no watch


class Status(msgspec.Struct, rename="camel"):
    desired_number_scheduled: int = 0
    number_ready: int = 0
    observed_generation: int = 0


class DaemonSet(msgspec.Struct):
    status: Status = msgspec.field(default_factory=Status)


async def ready(client: Client, namespace: str, name: str) -> None:
    """Returns when every pod is Ready. Raises ``ApiError`` if the DaemonSet cannot be read."""
    told = Status()
    while True:
        answer = await client.request("GET", f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
        status = msgspec.json.decode(answer, type=DaemonSet).status
        if status.observed_generation and status.number_ready >= status.desired_number_scheduled:
            return
        if status != told:
            print(f"{status.number_ready} of {status.desired_number_scheduled} nodes are clean", flush=True)
            told = status
        await asyncio.sleep(INTERVAL)


async def main(namespace: str, name: str) -> None:
    async with Client.load() as client:
        await ready(client, namespace, name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    except (ApiError, ConfigError) as error:
        sys.exit(str(error))
