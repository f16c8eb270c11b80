"""Settings keep to their limits wherever they are made: in Python as in params.yaml."""

from dataclasses import is_dataclass, replace
from typing import get_type_hints

import pytest

from benchmarks.settings import FIT
from flows.grid.settings import Benchmark, Design
from pipeline import config
from pipeline.settings.base import Shape
from pipeline.settings.evaluate import Bootstrap
from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS
from pipeline.settings.stage2 import CalibrationSettings
from pipeline.settings.training import UpdateCaps
from tests.settings import ROOT, RULES, recipe_with, rules_with, shortcuts_with


def shapes(shape):
    yield shape
    for hint in get_type_hints(shape).values():
        if is_dataclass(hint):
            yield from shapes(hint)


def test_every_shape_checks_itself():
    every = {each for shape in (*SECTIONS.values(), *FLOW_SECTIONS.values(), Benchmark) for each in shapes(shape)}
    assert len(every) > 15
    assert {shape for shape in every if not issubclass(shape, Shape)} == set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: replace(FIT, schedule="cosin"),
            r"schedule must .*given 'cosin' \(did you mean 'cosine'\?\)",
        ),
        (lambda: replace(FIT, epochs=0), r"FitSettings: epochs must lie in \[1, inf\), given 0"),
        (lambda: replace(FIT, epochs=True), r"epochs must lie in \[1, inf\), given True"),
        (lambda: replace(FIT, learning_rate=float("nan")), r"learning_rate must lie in \(0, inf\), given nan"),
        (lambda: recipe_with(scaling="quantil"), r"scaling .*did you mean 'quantile'"),
        (lambda: recipe_with(clip=-1.0), r"clip must lie in \(0, inf\), given -1 or must be None"),
        (lambda: rules_with(threshold="99"), r"threshold must match .*given '99'"),
        (lambda: shortcuts_with(leak_auroc=0.4), r"leak_auroc must lie in \[0.5, 1\], given 0.4"),
        (lambda: Bootstrap(10, 0), r"rounds must lie in \[100, inf\), given 10"),
        (lambda: CalibrationSettings("crss", 5, (), 0), r"did you mean 'cross'"),
        (lambda: UpdateCaps(max_share=0.0), r"max_share must lie in \(0, 1\], given 0"),
        (lambda: Design("here", unseen=("bot",), mix={"bot": 0}), r"mix must lie in \[1, inf\), given 0"),
    ],
)
def test_what_is_not_allowed_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change()


@pytest.mark.parametrize("value", ["published", 1, 7])
def test_a_number_or_a_word_may_be_allowed(value):
    confidence = config.load(SECTIONS["stage2"], ROOT / config.PARAMS).confidence
    assert replace(confidence, warm_up=value).warm_up == value


@pytest.mark.parametrize("value", ["publishd", 0])
def test_neither_another_number_nor_another_word_is(value):
    confidence = config.load(SECTIONS["stage2"], ROOT / config.PARAMS).confidence
    with pytest.raises(ValueError, match=r"warm_up must lie in .* or must be one of 'published'"):
        replace(confidence, warm_up=value)


def test_what_ships_is_allowed():
    for shape in (*SECTIONS.values(), *FLOW_SECTIONS.values()):
        assert config.load(shape, ROOT / config.PARAMS)
    assert replace(RULES) == RULES
