"""What the shapes of all sections share: limits, a section, and a section with plug-ins."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Final, get_args, get_type_hints

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
    """Refuse a number of a dataclass outside its limits, whoever made it.

    Raises:
        ValueError: which field, what is allowed, what was given.
    """
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, name)
        for bounds in get_args(hint)[1:]:
            if isinstance(bounds, Bounds) and isinstance(value, int | float) and not bounds.hold(value):
                raise ValueError(f"{type(settings).__name__}: {name} must lie in {bounds.interval}, given {value:g}")


@dataclass(frozen=True)
class Section:
    """A section of params.yaml."""

    section: ClassVar[str]  # its name there


@dataclass(frozen=True)
class WithPlugins:
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
