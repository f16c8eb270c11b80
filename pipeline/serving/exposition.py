"""Numbers as Prometheus reads them.

Source: "Exposition formats", Prometheus documentation (prometheus.io/docs/instrumenting/exposition_formats).
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from pipeline.base.escaping import printable

Labels: TypeAlias = tuple[tuple[str, str], ...]
About: TypeAlias = Mapping[str, tuple[str, str]]
"""Name of a number -> its kind, counter or gauge, and what it means."""


def text(prefix: str, about: About, values: Mapping[str, Mapping[Labels, float]]) -> str:
    """All numbers that have a value, in the text format, version 0.0.4.

    Args:
        prefix: of each name.
        about: the numbers that there are, in their order.
        values: name -> labels -> value.
    """
    return "\n".join([*_lines(prefix, about, values), ""])


def _lines(prefix: str, about: About, values: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
    for name, (kind, meaning) in about.items():
        if name not in values:
            continue
        yield f"# HELP {prefix}{name} {meaning}"
        yield f"# TYPE {prefix}{name} {kind}"
        for labels, value in sorted(values[name].items()):
            shown = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels)
            yield f"{prefix}{name}{f'{{{shown}}}' if shown else ''} {value:.17g}"


def _escaped(word: str) -> str:
    return printable(word).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
