"""The one configuration file: YAML into frozen models. Everything that is wrong is reported at once.

cluster:
  nodeSwitch: join
plugins:            # enabled means loaded, in this order
  - vpc
  - subnet: {cidr: 10.16.0.0/16}
  - node
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ovnloom.core.errors import ConfigError


class Settings(BaseModel):
    """Base of every configuration section: frozen, camelCase in the file, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ClusterConfig(Settings):
    """Names that the whole cluster shares; Kube-OVN's flags of the same words."""

    router: str = "ovn-cluster"
    default_subnet: str = "ovn-default"
    node_switch: str = "join"
    namespace: str = "kube-system"
    service_cidr: str = "10.96.0.0/12"


class Config(Settings):
    cluster: ClusterConfig = ClusterConfig()
    plugins: tuple[str | dict[str, dict[str, Any] | None], ...] = ("vpc", "subnet", "node", "service", "acl")

    def sections(self) -> dict[str, dict[str, Any]]:
        """Plugin name -> its section, in order. Raises ``ConfigError`` for a plugin named twice."""
        found: dict[str, dict[str, Any]] = {}
        problems = []
        for entry in self.plugins:
            for name, section in ({entry: None} if isinstance(entry, str) else entry).items():
                if name in found:
                    problems.append(f"plugins: {name} is listed twice; keep one")
                found[name] = section or {}
        if problems:
            raise ConfigError(problems)
        return found


def load(path: Path | None) -> Config:
    """The configuration in *path*, or the defaults. Raises ``ConfigError``."""
    if path is None:
        return Config()
    try:
        text = path.read_text()
        document = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {error}"]) from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError([f"{path}: the top level must be a mapping with the keys {', '.join(_keys(Config))}"])
    return parse(Config, document, where="")


S = TypeVar("S", bound=Settings)


def parse(model: type[S], document: Mapping[str, Any], *, where: str) -> S:
    """*document* as *model*. Raises ``ConfigError`` with a sentence for each problem; an unknown key is given its nearest."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError([_sentence(model, where, dict(item)) for item in error.errors(include_url=False)]) from None


def _sentence(model: type[BaseModel], where: str, item: Mapping[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    path = ".".join([where, *location] if where else location)
    if item["type"] != "extra_forbidden":
        return f"{path}: {item['msg']}, not {str(item.get('input'))[:80]!r}"
    parent = model
    for part in location[:-1]:
        kind = next((f.annotation for n, f in parent.model_fields.items() if part in (n, to_camel(n))), None)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            parent = kind
    return f"{path}: unknown key; {nearest(location[-1], _keys(parent))}"


def _keys(model: type[BaseModel]) -> list[str]:
    return [to_camel(name) for name in model.model_fields]


def nearest(word: str, valid: Iterable[str]) -> str:
    """``did you mean x?``, or the list of what is valid."""
    valid = sorted(valid)
    close = difflib.get_close_matches(word, valid, n=1)
    return f"did you mean {close[0]}?" if close else f"valid are: {', '.join(valid) or 'none'}"
