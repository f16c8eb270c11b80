"""Build a plug-in by name: the constructor's signature is its schema."""

import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pipeline.base.errors import ConfigError, UnknownPluginError, near_miss

T = TypeVar("T")


def find(registry: Mapping[str, Callable[..., T]], name: str, setting: str = "") -> Callable[..., T]:
    """The class or function that ``registry`` holds under ``name``; ``setting`` is where the name comes from.

    Raises:
        UnknownPluginError: the name is unknown; the message lists the known names and the nearest one.
    """
    if name not in registry:
        known = ", ".join(sorted(registry))
        where = f"{setting}: " if setting else ""
        raise UnknownPluginError(f"{where}{name!r} is not known{near_miss(name, registry)}; known: {known}")
    return registry[name]


def build(registry: Mapping[str, Callable[..., T]], name: str, setting: str = "", /, **settings: Any) -> T:
    """Call what ``registry`` holds under ``name`` with ``settings``; a list stands for a tuple.

    Args:
        registry: name -> class or function.
        name: of the plug-in.
        setting: the key that gives the name, for the message.
        settings: of the plug-in.

    Raises:
        UnknownPluginError: the registry holds no such name.
        ConfigError: the settings do not fit the signature, or the constructor refuses a value.
    """
    plugin = find(registry, name, setting)
    parameters = inspect.signature(plugin).parameters
    for key in settings:
        if key not in parameters:
            raise ConfigError(f"{name}: unknown setting {key!r}{near_miss(key, parameters)}; {_usage(name, plugin)}")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    for key, hint in _hints(plugin).items():
        if key in settings and not _fits(settings[key], hint):
            raise ConfigError(f"{name}.{key}: given {settings[key]!r}, allowed is {_type_name(hint)}")
    try:
        return plugin(**settings)
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        raise ConfigError(f"{name}: {error}; {_usage(name, plugin)}") from error


def _usage(name: str, plugin: Callable[..., Any]) -> str:
    return f"it takes {name}{inspect.signature(plugin)}"


def _hints(plugin: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(getattr(plugin, "__init__") if isinstance(plugin, type) else plugin)  # noqa: B009


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a settings file fits an annotation; types that no file can hold always fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, types.NoneType) else True


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    return getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)
