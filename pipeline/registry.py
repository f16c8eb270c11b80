"""Build a plug-in by name: the constructor's signature is its schema."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pipeline.errors import ConfigError, UnknownPluginError, near_miss

T = TypeVar("T")


def find(registry: Mapping[str, Callable[..., T]], name: str) -> Callable[..., T]:
    """The class or function that ``registry`` holds under ``name``.

    Raises:
        UnknownPluginError: with the known names and the nearest one.
    """
    if name not in registry:
        raise UnknownPluginError(f"{name!r} is not known{near_miss(name, registry)}; known: {', '.join(sorted(registry))}")
    return registry[name]


def build(registry: Mapping[str, Callable[..., T]], name: str, **settings: Any) -> T:
    """Call what ``registry`` holds under ``name`` with ``settings``.

    Raises:
        UnknownPluginError: if the registry holds no such name.
        ConfigError: if the settings do not fit the signature, or the constructor refuses a value.
    """
    plugin = find(registry, name)
    signature = inspect.signature(plugin)
    unknown = [key for key in settings if key not in signature.parameters]
    if unknown:
        raise ConfigError(
            f"{name}: unknown setting {unknown[0]!r}{near_miss(unknown[0], signature.parameters)}; "
            f"it takes {name}{signature}"
        )
    try:
        signature.bind(**settings)
        return plugin(**settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}; it takes {name}{signature}, given {settings}") from error
