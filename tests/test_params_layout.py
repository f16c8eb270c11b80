"""params.yaml has the layout that DVC writes: a command changes the lines of the settings that it names alone."""

import json
import re
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from flows.runtime import presets
from pipeline import config
from tests.documentation.pages import PAGES, commands

ROOT = Path(__file__).parents[1]
SHIPPED = (ROOT / "params.yaml").read_text()
SETTINGS = presets.flat(config.parse(SHIPPED.encode(), "params.yaml"))
LISTS = [key for key, value in SETTINGS.items() if isinstance(value, list)]


def lines(text):
    """(dotted key, line) of every line; an item of a list belongs to the key above it, a comment to none."""
    found, path = [], []
    for line in text.splitlines():
        key = re.match(r"^( *)([a-z0-9_]+):", line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
        own = key or line.lstrip().startswith("- ")
        found.append((".".join(path) if own else "", line))
    return found


def moved(before, after):
    """The keys of which a line is new or gone."""
    old, new = Counter(lines(before)), Counter(lines(after))
    return {key for key, _ in chain(old - new, new - old)}


def documented():
    """The settings of each `dvc exp run` that README and docs show."""
    shown = {tuple(words) for page in PAGES if page.name != "CONTRIBUTING.md" for words in commands(page)}
    runs = sorted(words for words in shown if words[:3] == ("dvc", "exp", "run"))
    return [[value for flag, value in pairwise(words) if flag == "-S"] for words in runs]


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED)
    return path


def test_dvc_writes_the_file_as_it_is(params):
    with modify_yaml(params):
        pass
    assert params.read_text() == SHIPPED
    apply_overrides(params, [f"preprocess.seed={SETTINGS['preprocess.seed']}"])
    assert params.read_text() == SHIPPED


@pytest.mark.parametrize("settings", documented(), ids=" ".join)
def test_a_documented_command_changes_the_lines_of_its_settings_alone(params, settings):
    apply_overrides(params, settings)
    assert moved(SHIPPED, params.read_text()) <= {each.partition("=")[0] for each in settings}


def test_the_pages_show_commands():
    assert len(documented()) > 3


def test_every_list_can_be_emptied_and_filled_and_comes_back_as_it_was(params):
    kept = SHIPPED
    for value in ([], ["a"], ["b", "c", "d"], []):
        apply_overrides(params, [f"{key}={json.dumps(value)}" for key in LISTS])
        text = params.read_text()
        assert all(presets.at(config.read(params), key) == value for key in LISTS)
        assert moved(kept, text) <= set(LISTS)
        kept = text
    apply_overrides(params, [f"{key}={json.dumps(SETTINGS[key])}" for key in LISTS])
    assert params.read_text() == SHIPPED


def test_every_value_can_be_changed_and_comes_back_as_it_was(params):
    scalars = [key for key, value in SETTINGS.items() if not isinstance(value, list | dict) and ".members." not in key]
    for value in ("a", None, 2.5):
        apply_overrides(params, [f"{key}={json.dumps(value)}" for key in scalars])
        assert moved(SHIPPED, params.read_text()) <= set(scalars)
    apply_overrides(params, [f"{key}={json.dumps(SETTINGS[key])}" for key in scalars])
    assert presets.flat(config.read(params)) == SETTINGS
    tiny = {key for key in scalars if isinstance(SETTINGS[key], float) and 0 < SETTINGS[key] < 1e-4}  # 1.0e-6, 1e-06
    assert moved(SHIPPED, params.read_text()) <= tiny


def test_every_line_is_short_enough_that_dvc_does_not_wrap_it():
    assert all(len(line.partition("#")[0].rstrip()) <= 80 for line in SHIPPED.splitlines())
