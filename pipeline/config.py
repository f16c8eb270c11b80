"""The door to params.yaml: reads a section and checks it against its shape, which stands in ``pipeline.settings``.

``load(Stage2)`` gives that section alone, frozen, so that a stage cannot read what dvc.yaml does not declare for it.
Pydantic checks it with a model that is made from the shape. The settings of a plug-in (``stage2.maf`` ...) are checked
against its constructor, by ``registry.build``.
"""

import re
import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import pydantic
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)

from pipeline.base.errors import ConfigError, near_miss
from pipeline.settings import renamed
from pipeline.settings.base import FILE, Bounds, Section, WithPlugins
from pipeline.settings.engine import Engine

PARAMS = Path(FILE)
PRESET = "preset"  # the one setting that is no section; see flows.runtime.presets
STAGES: Final = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")
FLOWS: Final = (
    *("engine", "workers", "promotion", "retraining", "files", "scoring", "alerts", "watch"),
    *("notify", "prometheus", "tracking", "retention"),
)

S = TypeVar("S", bound=Section)
T = TypeVar("T")


def load(shape: type[S], path: Path = PARAMS) -> S:
    """The section of ``path`` that has this shape.

    Raises:
        ConfigError: the file or section is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    return build(shape, read(path), str(path))


def engine() -> dict[str, Any]:
    """What ``pipeline.base.engine.using`` takes; nothing where params.yaml is older than the section ``engine``.

    Raises:
        ConfigError: as ``load``.
    """
    if Engine.section not in read(PARAMS):
        return {}
    chosen = load(Engine)
    tls = {"ca": chosen.tls.ca, "certificate": chosen.tls.certificate, "key": chosen.tls.key}
    return {"use": chosen.use, "address": chosen.address, "workers": chosen.workers, "tls": tls}


def build(shape: type[S], params: Mapping[str, Any], where: str) -> S:
    """The section of ``params`` that has this shape.

    Args:
        shape: of the section.
        params: all sections by name, as ``read`` gives them.
        where: they come from, for messages.

    Raises:
        ConfigError: the section is absent, or a key is unknown, of the wrong type or out of its limits.
    """
    known = (*STAGES, *FLOWS)
    for key in params:
        if key not in known and key != PRESET:
            raise ConfigError(f"{where}: unknown section {key!r}{near_miss(key, known)}; known: {', '.join(known)}")
    return checked(shape, params.get(shape.section, shape.absent()), shape.section, where)


def checked(shape: type[T], given: Any, name: str, where: str) -> T:
    """An instance of the dataclass ``shape`` with the values ``given``.

    Args:
        shape: a frozen dataclass; annotations give types and ``Bounds``.
        given: a mapping of its fields.
        name: of the section, for messages.
        where: the values come from, for messages.

    Raises:
        ConfigError: all faults at once, each with what is allowed, what was given and the nearest known key.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: section {name!r} is missing or no mapping, given {given!r}")
    try:
        return cast(T, _validator(cast(Hashable, shape)).validate_python(given))
    except ValidationError as error:
        faults = "; ".join(f"{name}{_fault(shape, dict(fault))}" for fault in error.errors(include_url=False))
        raise ConfigError(f"{where}: {faults}") from error


def read(path: Path = PARAMS) -> dict[str, Any]:
    """All sections of ``path`` as they stand there, unchecked, under today's names.

    Raises:
        ConfigError: the file is absent or no mapping, or gives a setting under both its names.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; run from the folder that holds {path.name}")
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, where: str) -> dict[str, Any]:
    """All sections that the ``content`` of a file of settings holds, unchecked, under today's names.

    Raises:
        ConfigError: it is no mapping, or gives a setting under its former name and its new one.
    """
    try:
        params = yaml.load(content.decode("utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: is no YAML: {error}") from error
    if not isinstance(params, dict):
        raise ConfigError(f"{where}: a mapping of sections is expected, given {type(params).__name__}")
    return renamed.sections(params, where)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads 1e-3 as a number, as YAML 1.2 and DVC do; by libyaml where it is there, in a tenth of the time."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


# From a shape to a model of pydantic, and back.


class _Model(BaseModel):
    """Strict, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _PluginModel(_Model):
    """An unknown key may be the name of a plug-in, if it holds a mapping."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _only_mappings(cls, values: Any) -> Any:
        known = [*cls.model_fields]
        for key, value in values.items() if isinstance(values, dict) else ():
            if key not in known and not isinstance(value, dict):
                raise ValueError(f"{key}: unknown key{near_miss(key, known)}; known: {', '.join(known)}")
        return values


@cache
def _validator(shape: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(_annotation(shape))


def _annotation(hint: Any) -> Any:
    """What pydantic checks in place of a type: a shape by its model, ``Bounds`` by a field, a tuple that is a list."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return Annotated[_model(cast(type, hint)), AfterValidator(partial(_built, cast(type, hint)))]
    if origin is Annotated:
        bounds = [pydantic.Field(**each.given()) for each in arguments[1:] if isinstance(each, Bounds)]
        return Annotated[(_annotation(arguments[0]), *bounds)]
    if origin is tuple:
        items = tuple(each if each is Ellipsis else _annotation(each) for each in arguments)
        return Annotated[tuple[items], BeforeValidator(_tuple)]  # type: ignore[valid-type]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_annotation, arguments))]  # noqa: UP007
    if origin not in (None, Literal):
        return origin[tuple(map(_annotation, arguments))]
    return hint


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _model(shape: type) -> type[BaseModel]:
    hints = get_type_hints(shape, include_extras=True)
    base = _PluginModel if issubclass(shape, WithPlugins) else _Model
    own = {each.name: (_annotation(hints[each.name]), _default(each)) for each in fields(shape)}
    own.pop("plugins", None)
    return create_model(shape.__name__, __base__=base, **own)  # type: ignore[call-overload,no-any-return]


def _default(field: Field[Any]) -> Any:
    """Nothing for most: the file says every value. Other defaults are for those who make a shape themselves."""
    if "optional" not in field.metadata:
        return ...
    return field.default if field.default_factory is MISSING else field.default_factory()


def _built(shape: type, model: BaseModel) -> Any:
    own = {name: getattr(model, name) for name in type(model).model_fields}
    return shape(**own, **({"plugins": model.model_extra} if issubclass(shape, WithPlugins) else {}))


# From a fault that pydantic finds to words.


def _fault(shape: type, fault: dict[str, Any]) -> str:
    where, around = _place(shape, fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = [each.name for each in fields(around)]
        return f"{where}: unknown key{near_miss(str(fault['loc'][-1]), known)}; known: {', '.join(known)}"
    message = fault["msg"].removeprefix("Value error, ").partition(" or instance of ")[0]
    if not where:
        return f".{message}"  # of a check that looks at the whole section, and names the key itself
    given = f", given {fault['input']!r}" if fault["type"] != "missing" else ""
    return f"{where}: {message}{given}"


def _place(shape: Any, path: tuple[Any, ...]) -> tuple[str, Any]:
    """The dotted name of what lies under a path, and the shape around it.

    Where a setting may be of several types, pydantic's path ends with the one that it tried; that is left out.
    """
    where, around = "", shape
    for part in path:
        around = shape
        if is_dataclass(shape):
            shape = get_type_hints(shape).get(part)
        elif get_origin(shape) is Mapping:
            shape = get_args(shape)[1]
        elif not isinstance(part, int):
            break
        where += f".{part}"
    return where, around
