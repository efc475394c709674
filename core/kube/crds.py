"""Are the kinds that we need served? Asked once at start, so that a missing one is named instead of watched in vain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from ovnloom.core.errors import ConfigError
from ovnloom.core.kube.client import ApiError, Client
from ovnloom.core.kube.objects import Kind, kind_id

INSTALL = "install what is missing with: ovnloom crds | kubectl apply -f -"


class _Resource(msgspec.Struct):
    name: str = ""


class _Resources(msgspec.Struct):
    resources: list[_Resource] | None = None


_decoder = msgspec.json.Decoder(_Resources)


async def missing(client: Client, kinds: Iterable[Kind[Any]]) -> list[str]:
    """The kinds, as ``plural.group/version``, that the API server does not serve. Raises ``ApiError`` if it does not say."""
    wanted: dict[str, list[Kind[Any]]] = defaultdict(list)
    for kind in kinds:
        wanted[f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"].append(kind)
    lacking = []
    for path, members in sorted(wanted.items()):
        try:
            answer = _decoder.decode(await client.request("GET", path))
        except ApiError as error:
            if not error.not_found:
                raise
            answer = _Resources()
        served = {resource.name for resource in answer.resources or ()}
        lacking += sorted(f"{kind_id(kind)}/{kind.version}" for kind in members if kind.plural not in served)
    return lacking


async def check(client: Client, kinds: Iterable[Kind[Any]]) -> None:
    """Raises ``ConfigError`` that names every missing kind and the command that installs them; ``ApiError`` as ``missing`` does.

    Optional kinds are not asked for.
    """
    lacking = await missing(client, (kind for kind in kinds if not kind.optional))
    if lacking:
        raise ConfigError([*(f"the API server does not serve {name}" for name in lacking), INSTALL])
