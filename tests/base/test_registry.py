"""Plug-ins by name: the signature is the schema."""

from typing import Literal

import pytest

from pipeline.base.errors import ConfigError, UnknownPluginError
from pipeline.base.registry import build, find


class Box:
    def __init__(
        self,
        size: int,
        share: float = 0.5,
        kind: Literal["a", "b"] = "a",
        names: tuple[str, ...] = (),
        flat: bool = False,
        limit: float | None = None,
    ) -> None:
        if size < 0:
            raise ValueError(f"size: given {size}, allowed is 0 or more")
        self.settings = (size, share, kind, names, flat, limit)


def half(x: float) -> float:
    return x / 2


BOXES = {"box": Box, "half": half}


def test_settings_become_arguments_and_a_list_a_tuple():
    built = build(BOXES, "box", size=3, names=["x", "y"], limit=1)
    assert built.settings == (3, 0.5, "a", ("x", "y"), False, 1)
    assert build(BOXES, "half", x=3) == 1.5


def test_an_unknown_name_is_refused_with_the_known_ones_and_the_nearest():
    with pytest.raises(UnknownPluginError, match=r"'bxo' is not known \(did you mean 'box'\?\); known: box, half"):
        find(BOXES, "bxo")
    with pytest.raises(UnknownPluginError, match="'zebra' is not known; known: box, half"):
        build(BOXES, "zebra")


def test_an_unknown_setting_is_refused_with_the_signature():
    with pytest.raises(
        ConfigError, match=r"box: unknown setting 'siez' \(did you mean 'size'\?\); it takes box\(size: int"
    ):
        build(BOXES, "box", siez=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 1.5},
        {"size": True},
        {"size": "1"},
        {"size": None},
        {"size": 1, "share": "x"},
        {"size": 1, "share": float("nan")},
        {"size": 1, "share": False},
        {"size": 1, "kind": "c"},
        {"size": 1, "names": "xy"},
        {"size": 1, "names": [1]},
        {"size": 1, "flat": 1},
        {"size": 1, "limit": "none"},
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_what_is_allowed(settings):
    wrong = next(key for key in reversed(settings))
    with pytest.raises(ConfigError, match=rf"box\.{wrong}: given .*, allowed is "):
        build(BOXES, "box", **settings)


def test_what_the_constructor_refuses_or_misses_is_an_error_of_the_settings():
    with pytest.raises(ConfigError, match="box: size: given -1, allowed is 0 or more; it takes box"):
        build(BOXES, "box", size=-1)
    with pytest.raises(ConfigError, match="missing 1 required positional argument: 'size'"):
        build(BOXES, "box")
