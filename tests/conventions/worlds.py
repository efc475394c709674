"""The examples of READMEs, in a World with the built-in plugins and one node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import yaml

from ovnloom.core import plugins as core_plugins
from ovnloom.core.config import Config
from ovnloom.core.plugins import Plugin
from ovnloom.core.testing import World
from tests.conventions import repository

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1"},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.2"}]},
}


def built_in() -> list[Plugin]:
    """All plugins of this repository with their defaults, in the order of the default configuration, then by name."""
    usual = [name for name in Config().plugins if isinstance(name, str)]
    names = [*usual, *(name for name in repository.plugins() if name not in usual)]
    return list(core_plugins.load(core_plugins.CONTROLLER, Config(plugins=tuple(names))).plugins)


def world(*further: type[Plugin] | Plugin) -> World:
    made = World(*built_in(), *further)
    made.apply(NODE)
    return made


def documents(markdown: str) -> list[dict[str, Any]]:
    """The objects of every YAML block."""
    return [document for block in repository.blocks(markdown, "yaml") for document in yaml.safe_load_all(block) if document]


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """*change* laid over *document*, mapping by mapping."""
    result = deepcopy(dict(document))
    for name, value in change.items():
        held = result.get(name)
        result[name] = merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return result


def changed(documents: Iterable[dict[str, Any]], change: Mapping[str, Any]) -> list[dict[str, Any]]:
    """*documents* with *change* in the one of its ``kind``, or in the first that is no Namespace or Pod."""
    listed = list(documents)
    kind = change.get("kind")
    index = next(i for i, d in enumerate(listed) if (d["kind"] == kind if kind else d["kind"] not in ("Namespace", "Pod")))
    listed[index] = merged(listed[index], change)
    return listed
