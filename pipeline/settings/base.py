"""What the shapes of all sections share: limits, a section, and a section with plug-ins."""

import re
import types
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from numbers import Real
from typing import Annotated, Any, ClassVar, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from pipeline.base.errors import ConfigError, near_miss

FILE: Final = "params.yaml"
GIVEN: Final = frozenset(
    {"path", "features", "loss", "needed", "reading"}
)  # parameters of plug-ins that the stages fill in


@dataclass(frozen=True)
class Bounds:
    """What a value must keep to: a number its interval, a list its least length, a text its pattern."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    pattern: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are set."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    def hold(self, value: float) -> bool:
        """Whether a number lies in the interval."""
        above = (self.ge is None or value >= self.ge) and (self.gt is None or value > self.gt)
        return above and (self.le is None or value <= self.le) and (self.lt is None or value < self.lt)

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value; None if nothing is."""
        if self.pattern is not None:
            fits = isinstance(value, str) and re.search(self.pattern, value)
            return None if fits else f"must match {self.pattern}, given {value!r}"
        if self.min_length is not None:
            return None if len(value) >= self.min_length else f"must have {self.min_length} or more, given {len(value)}"
        number = isinstance(value, Real) and not isinstance(value, bool)
        shown = f"{value:g}" if number else repr(value)
        return None if number and self.hold(value) else f"must lie in {self.interval}, given {shown}"

    @property
    def interval(self) -> str:
        """The interval in the notation of mathematics; one end may be open to infinity."""
        low = f"({self.gt}" if self.gt is not None else "(-inf" if self.ge is None else f"[{self.ge}"
        high = f"{self.lt})" if self.lt is not None else "inf)" if self.le is None else f"{self.le}]"
        return f"{low}, {high}"


Share = Annotated[float, Bounds(ge=0, le=1)]
ShareBelowOne = Annotated[float, Bounds(ge=0, lt=1)]
ShareAboveZero = Annotated[float, Bounds(gt=0, le=1)]
OpenShare = Annotated[float, Bounds(gt=0, lt=1)]
Level = Annotated[float, Bounds(gt=0.5, lt=1)]  # the probability with which an interval holds
Positive = Annotated[float, Bounds(gt=0)]
NotNegative = Annotated[float, Bounds(ge=0)]
Count = Annotated[int, Bounds(ge=1)]
CountOrZero = Annotated[int, Bounds(ge=0)]
Rounds = Annotated[int, Bounds(ge=100)]  # of a bootstrap
Seed = Annotated[int, Bounds(ge=0, lt=2**32)]
Names = tuple[str, ...]
Threshold = Annotated[str, Bounds(pattern=r"^p\d{1,2}(\.\d+)?$")]  # the name of one, such as p99
Values = Mapping[str, Any]
OPTIONAL: Final = {"optional": True}  # metadata of a field that a file may leave out


def require_bounds(settings: Any) -> None:
    """Refuse a value of a dataclass that its annotation does not allow, whoever made it.

    Numbers are held against their interval, texts against their pattern or the words that are allowed, and lists
    against their least length.

    Raises:
        ValueError: which field, what is allowed, what was given, and the nearest allowed word.
    """
    hints = _hints(cast(Hashable, type(settings)))
    for each in fields(settings):
        if fault := _fault(hints[each.name], getattr(settings, each.name)):
            raise ValueError(f"{type(settings).__name__}: {each.name} {fault}")


@cache
def _hints(shape: Hashable) -> dict[str, Any]:
    return get_type_hints(shape, include_extras=True)


def _fault(hint: Any, value: Any) -> str | None:
    """What is wrong with a value of this type; None if nothing is."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = (each for each in arguments[1:] if isinstance(each, Bounds))
        faults = [each.fault(value) for each in bounds]
        return next(filter(None, faults), None) or _fault(arguments[0], value)
    if origin is Literal:
        words = ", ".join(map(repr, arguments))
        return None if value in arguments else f"must be one of {words}, given {value!r}{near_miss(value, arguments)}"
    if origin in (Union, types.UnionType):
        faults = [_fault(each, value) for each in arguments]
        return None if None in faults else " or ".join(map(str, faults))
    if origin is Mapping and isinstance(value, Mapping):
        faults = [
            _fault(kind, each) for kind, part in zip(arguments, (value, value.values()), strict=True) for each in part
        ]
        return next(filter(None, faults), None)
    if origin is tuple and isinstance(value, tuple):
        return next(filter(None, (_fault(arguments[0], each) for each in value)), None)
    return f"must be None, given {value!r}" if hint is types.NoneType and value is not None else None


@dataclass(frozen=True)
class Shape:
    """Settings that refuse what their annotations do not allow, in params.yaml and in Python alike.

    Raises:
        ValueError: see ``require_bounds``.
    """

    def __post_init__(self) -> None:
        require_bounds(self)


@dataclass(frozen=True)
class Section(Shape):
    """A section of params.yaml."""

    section: ClassVar[str]  # its name there

    @classmethod
    def absent(cls) -> dict[str, Any] | None:
        """What holds where the params.yaml of an older project lacks the section; None where it must be there."""
        return None


@dataclass(frozen=True)
class WithPlugins(Shape):
    """Settings that have, beside their own keys, one mapping of settings for each plug-in that can be chosen.

    Attributes:
        plugins: name -> its settings; in params.yaml the names stand among the other keys.
    """

    plugins: Mapping[str, Values | None] = field(kw_only=True)

    def settings(self, plugin: str, known: Collection[str]) -> dict[str, Any]:
        """What the section says for ``plugin``; nothing said means its own defaults.

        Raises:
            ConfigError: the section holds settings for a name that is not among the ``known`` plug-ins.
        """
        for name in self.plugins:
            if name not in known:
                miss, names = near_miss(name, known), ", ".join(sorted(known))
                raise ConfigError(f"{FILE}: settings for {name!r}, which is no plug-in{miss}; known: {names}")
        settings = dict(self.plugins.get(plugin) or {})
        for name in GIVEN & set(settings):
            raise ConfigError(f"{FILE}: {plugin}.{name} is no setting; the pipeline gives it")
        return settings


def plain(settings: Any) -> Any:
    """Settings as params.yaml has them: mappings, lists, and plug-ins among the other keys."""
    if is_dataclass(settings):
        own = {each.name: plain(getattr(settings, each.name)) for each in fields(settings)}
        return own | own.pop("plugins", {})
    if isinstance(settings, Mapping):
        return {name: plain(value) for name, value in settings.items()}
    return list(map(plain, settings)) if isinstance(settings, tuple | list) else settings
