"""Plugins: found by entry point (stevedore), ordered and configured from one file, each hook called in isolation (pluggy)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from stevedore.named import NamedExtensionManager

from ovnloom.core.config import ClusterConfig, Config, Settings, nearest, parse
from ovnloom.core.errors import ConfigError
from ovnloom.core.hooks import PROJECT, AgentHooks, ControllerHooks

CONTROLLER, AGENT = "ovnloom.plugins", "ovnloom.agent"


class NoSettings(Settings):
    """Of a plugin that has none."""


class Plugin:
    """Base of plugins. *requires* must be enabled too, and earlier. Without a *critical* one's word an object is not published.

    *serves* names fields of other plugins' kinds that this one gives their meaning, as ``Subnet.spec.private``; *served* are
    those of all that are enabled: whose kind it is refuses the rest instead of ignoring them.
    """

    name: str = ""
    requires: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    served: frozenset[str] = frozenset()
    critical: bool = False
    config_class: type[Settings] = NoSettings

    def __init__(self, config: Any, cluster: ClusterConfig) -> None:
        self.config, self.cluster = config, cluster


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one plugin answered: *result*, or the *error* it raised."""

    plugin: Plugin
    result: Any = None
    error: Exception | None = None


class PluginSet:
    """Plugins that are enabled, in order."""

    def __init__(self, plugins: Iterable[Plugin], hooks: type = ControllerHooks) -> None:
        self.plugins = tuple(plugins)
        served = frozenset(field for plugin in self.plugins for field in plugin.serves)
        registry = pluggy.PluginManager(PROJECT)
        registry.add_hookspecs(hooks)
        for plugin in self.plugins:
            plugin.served = served
            registry.register(plugin, name=plugin.name)
        registry.check_pending()
        order = {id(plugin): index for index, plugin in enumerate(self.plugins)}
        self._calls: dict[str, list[tuple[Plugin, Any, tuple[str, ...]]]] = {}
        for hook in (name for name in vars(hooks) if not name.startswith("_")):
            found = sorted(getattr(registry.hook, hook).get_hookimpls(), key=lambda impl: order[id(impl.plugin)])
            self._calls[hook] = [(impl.plugin, impl.function, tuple(impl.argnames)) for impl in found]

    def fan_out(self, hook: str, **arguments: Any) -> Iterator[Outcome]:
        """Calls *hook* of each plugin in order; an exception of one is its outcome and does not reach the others."""
        for plugin, function, names in self._calls[hook]:
            try:
                result = function(*[arguments[name] for name in names])
                # a generator runs here, inside the boundary
                yield Outcome(plugin, tuple(result) if isinstance(result, Iterable) and not isinstance(result, Mapping | tuple) else result)
            except Exception as error:
                yield Outcome(plugin, error=error)

    def first(self, hook: str, **arguments: Any) -> Outcome | None:
        """The first outcome that says something (a result that is not ``None``, or an error)."""
        return next((o for o in self.fan_out(hook, **arguments) if o.error or o.result is not None), None)


def load(group: str, config: Config) -> PluginSet:
    """The plugins that *config* enables, of entry point group *group*. Raises ``ConfigError`` with every problem at once.

    A plugin of the controller without a node side is no problem for the agent, and the other way round:
    its name must be known in one of the two groups.
    """
    sections = config.sections()
    known = {g: {e.name: e for e in entry_points(group=g)} for g in (CONTROLLER, AGENT)}
    everywhere = {**known[CONTROLLER], **known[AGENT]}
    problems = [f"plugins: {name} is not installed; {nearest(name, everywhere)}" for name in sections if name not in everywhere]
    wanted = [name for name in sections if name in known[group]]

    def broken(_manager: object, entry: EntryPoint, error: BaseException) -> None:
        problems.append(f"plugins: {entry.name} ({entry.value}) cannot be imported: {type(error).__name__}: {error}")

    # who is missing was said above
    handlers = {"on_load_failure_callback": broken, "on_missing_entrypoints_callback": lambda names: None}
    manager = NamedExtensionManager(group, wanted, name_order=True, **handlers)
    plugins = []
    earlier: set[str] = set()
    for extension in manager:
        try:
            plugins.append(_made(extension.name, extension.plugin, sections[extension.name], config.cluster))
        except ConfigError as error:
            problems += error.problems
        problems += [
            f"plugins: {extension.name} needs {other}; list {other} before it"
            for other in getattr(extension.plugin, "requires", ())
            if other not in earlier
        ]
        earlier.add(extension.name)
    if not problems:
        try:
            return PluginSet(plugins, ControllerHooks if group == CONTROLLER else AgentHooks)
        except pluggy.PluginValidationError as error:
            problems.append(f"plugins: {error}")
    raise ConfigError(problems)


def _made(name: str, factory: Any, section: Mapping[str, Any], cluster: ClusterConfig) -> Plugin:
    if not (isinstance(factory, type) and issubclass(factory, Plugin)):
        raise ConfigError([f"plugins: {name}: its entry point must name a subclass of ovnloom.core.plugins.Plugin"])
    settings = parse(factory.config_class, section, where=f"plugins.{name}")
    plugin = factory(settings, cluster)
    plugin.name = plugin.name or name
    return plugin
