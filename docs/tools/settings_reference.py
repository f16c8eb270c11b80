"""Writes ``docs/reference/settings.md``: every setting with its type and limits, its shipped value and its meaning.

    python docs/tools/settings_reference.py

Type and limits come from the declaration in ``pipeline.settings`` or from the signature of a plug-in, the value from
params.yaml. The meaning is the comment behind the value in params.yaml, or else what the docstring of the shape or of
the plug-in says. So nothing is written here that stands elsewhere.
"""

import inspect
import json
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from flows.runtime import presets
from pipeline import config
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.datasets.registry import DATASETS
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.serving.alerts.sinks.registry import SINKS
from pipeline.settings.base import GIVEN, Bounds
from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "settings.md"
PLUGINS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "ingest": DATASETS,
    "stage1": {**ENCODERS, **LOSSES},
    "stage1.confidence": {**THRESHOLDS, **CONFIDENCES},
    "stage2": DETECTORS,
    "stage2.confidence": {**THRESHOLDS, **CONFIDENCES},
    "calibrate": THRESHOLDS,
    "alerts.sinks": SINKS,
}
NAMES: Final[Mapping[str, Collection[str]]] = {  # settings that name a plug-in
    "ingest.dataset": DATASETS,
    "stage1.encoder": ENCODERS,
    "stage1.loss": LOSSES,
    "stage1.confidence.thresholds": ("published", *THRESHOLDS),
    "stage1.confidence.rule": ("published", *CONFIDENCES),
    "stage2.detector": DETECTORS,
    "stage2.confidence.thresholds": ("published", *THRESHOLDS),
    "stage2.confidence.rule": ("published", *CONFIDENCES),
    "calibrate.fusion": FUSIONS,
    "calibrate.thresholds": THRESHOLDS,
    "alerts.sinks.active": SINKS,
    "alerts.sinks.incidents": SINKS,
}
HEAD: Final = """# Settings

All settings stand in `params.yaml`. `dvc exp run -S stage1.fit.epochs=20` changes one and trains with it. A value that
is not allowed stops the pipeline before it reads any data, with a message that names what is.

This page is made by `python docs/tools/settings_reference.py`. A setting in *italics* is not in `params.yaml`. Its
value is the default of the plug-in, and `-S` adds it with a plus sign: `-S +stage2.mlp.activation=elu`.
"""
WORDS: Final = {str: "text", int: "integer", float: "number", bool: "true or false", types.NoneType: "null"}


class Setting(NamedTuple):
    """One row of the page."""

    name: str
    allowed: str
    value: Any
    meaning: str
    shipped: bool


def settings() -> list[Setting]:
    """All of them, by section, in the order of their declarations."""
    values = config.read(ROOT / config.PARAMS)
    comments = _comments((ROOT / config.PARAMS).read_text(encoding="utf-8"))
    found = [Setting(config.PRESET, "text", values[config.PRESET], comments[config.PRESET], True)]
    for section, shape in {**SECTIONS, **FLOW_SECTIONS}.items():
        for name, hint, owner, default in _declared(section, shape):
            meaning = comments.get(name) or _described(owner).get(name.rpartition(".")[2], "")
            value = presets.at(values, name)
            shipped = value is not presets.ABSENT
            kind = allowed(Literal[*NAMES[name]]) if name in NAMES else allowed(hint)
            found.append(Setting(name, kind, value if shipped else default, meaning, shipped))
    return found


def allowed(hint: Any) -> str:
    """A type and its limits in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = next(each for each in arguments[1:] if isinstance(each, Bounds))
        return f"{allowed(arguments[0])}{_limits(bounds)}"
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(allowed(each) for each in arguments)
    if origin is not None and issubclass(origin, Mapping):
        return "mapping"
    if origin is not None:
        return f"list of {allowed(arguments[0])}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def page() -> str:
    """The whole page as Markdown."""
    lines, section = [HEAD], ""
    for each in settings():
        if each.name.partition(".")[0] != section:
            section = each.name.partition(".")[0]
            lines.append(f"\n## {section}\n\n| setting | allowed | shipped | meaning |\n|---|---|---|---|\n")
        name = f"`{each.name}`" if each.shipped else f"*`{each.name}`*"
        cells = (name, each.allowed, f"`{json.dumps(each.value)}`", each.meaning)
        row = " | ".join(cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| {row} |\n")
    return "".join(lines)


def _declared(path: str, shape: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Dotted name, annotation, class that documents it, and default of each setting below ``path``."""
    hints = get_type_hints(shape, include_extras=True)
    for field in fields(shape):
        name = f"{path}.{field.name}"
        if field.name == "plugins":
            continue
        if is_dataclass(hints[field.name]):
            yield from _declared(name, hints[field.name])
        else:
            yield name, hints[field.name], shape, None
    for plugin, maker in PLUGINS.get(path, {}).items():
        hints = get_type_hints(maker.__init__ if isinstance(maker, type) else maker)
        for parameter in inspect.signature(maker).parameters.values():
            if parameter.name not in GIVEN and parameter.name in hints:
                yield f"{path}.{plugin}.{parameter.name}", hints[parameter.name], maker, parameter.default


def _limits(bounds: Bounds) -> str:
    given = bounds.given()
    if "pattern" in given:
        return f" like `{bounds.pattern}`"
    if "min_length" in given:
        return f", at least {bounds.min_length}"
    return f" in {bounds.interval}"


def _comments(text: str) -> dict[str, str]:
    """Dotted name -> the comment behind its value."""
    found, path = {}, list[str]()
    for line in text.splitlines():
        key = re.match(r"^( *)([a-z0-9_]+):(?: [^#]*)?(?:# (.*))?$", line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if key[3]:
                found[".".join(path)] = key[3].strip()
    return found


def _described(owner: Any) -> dict[str, str]:
    """Name -> what the docstrings of a class and of those above it say of it, as one line of Markdown."""
    found: dict[str, str] = {}
    for each in reversed(owner.__mro__ if isinstance(owner, type) else (owner,)):
        block = re.search(r"^(?:Args|Attributes):\n((?: +.*\n?|\n)+)", f"{inspect.getdoc(each) or ''}\n", re.MULTILINE)
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", block[1] if block else "", re.MULTILINE):
            found[name] = re.sub(r"\s+", " ", text).replace("``", "`")
    return found


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
