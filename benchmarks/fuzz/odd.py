"""What Hypothesis makes of good input."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any, Final

import yaml
from hypothesis import strategies as st

from benchmarks import mutations
from benchmarks.fuzz.kinds import Kind

DEEP: Final = b"[" * 20_000
TOKENS: Final = (
    DEEP,
    b'{"a":' * 20_000,
    b"9" * 5_000,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"!!python/x {}",
    b"&a [*a]",
)
LEAVES: Final = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    st.sampled_from(["", "\x00", "\n", "=1+1", "../x", "x" * 300, "1e400", "nan", 1 << 63, -1, 10**40, 1e308]),
)
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def odd_values(draw: Callable[[Any], Any], whole: Any) -> Any:
    """The values ``whole`` with one to three changes."""
    made = {"": copy.deepcopy(whole)}
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = made
        key: Any = ""
        while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 4)):
            holder = holder[key]
            key = draw(st.sampled_from([*holder] if isinstance(holder, dict) else [*range(len(holder))]))
        match draw(st.sampled_from(("put", "put", "put", "drop", "add", "twice"))):
            case "drop" if isinstance(holder, dict) and holder is not made:
                del holder[key]
            case "add" if isinstance(holder[key], dict):
                holder[key][draw(st.text(max_size=8))] = draw(VALUES)
            case "twice" if isinstance(holder[key], list):
                holder[key] += copy.deepcopy(holder[key])
            case _:
                holder[key] = draw(VALUES)
    return made[""]


@st.composite
def odd_bytes(draw: Callable[[Any], Any], content: bytes) -> bytes:
    """The bytes with one to four changes."""
    seeded = random.Random(draw(st.integers(0, 1 << 32)))
    made = mutations.changed(content, content[::-1], seeded)
    if draw(st.integers(0, 5)) == 0:
        at = seeded.randrange(len(made) + 1)
        made = made[:at] + draw(st.sampled_from(TOKENS)) + made[at:]
    return made


def odd(kind: Kind) -> st.SearchStrategy[bytes]:
    """Inputs of a kind that are not as they should be."""
    content = kind.good()
    loose = odd_bytes(content)
    if not kind.form:
        return loose
    if kind.form == "lines":
        whole: Any = [json.loads(line) for line in content.splitlines()]
        strict = odd_values(whole).map(
            lambda lines: b"".join(
                json.dumps(line).encode() + b"\n" for line in (lines if isinstance(lines, list) else [lines])
            )
        )
    elif kind.form == "yaml":
        strict = odd_values(yaml.safe_load(content)).map(lambda made: yaml.safe_dump(made).encode())
    else:
        strict = odd_values(json.loads(content)).map(lambda made: json.dumps(made).encode())
    return strict if kind.is_whole else st.one_of(strict, loose)
