"""The cells of a grid, their names, and what is refused before anything runs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.grid import cells, settings
from flows.grid.cells import Grid
from pipeline import config
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]
FAMILIES = {"bot": "bot", "dos_hulk": "dos", "dos_slowloris": "dos", "port_scan": "port_scan"}


def _asked(**changes):
    """What benchmark.yaml says, with changes."""
    given = config.read(ROOT / "benchmark.yaml")
    given["designs"] = {
        "one": {"records": ".", "unseen": ["bot", "infiltration"], "overrides": {"preprocess.attempted": "benign"}},
        "each": {"records": ".", "leave_out": ["dos", "bot", "heartbleed"]},
    }
    given["configurations"] = {"near": {"stage2.detector": "knn"}, "mixture": {"stage2.detector": "gmm"}}
    return settings.build(given | {"seeds": [0, 1]} | changes)


def _params():
    return config.read(ROOT / "params.yaml")


def _cells(asked, design="one", path=Path("/data"), records="r", code="c", params=None, **chosen):
    made = Grid.of(params or _params(), asked, **chosen)
    return list(made.cells(design, path, FAMILIES, lambda each: cells.identity(each, records, code)))


def test_a_cell_has_the_settings_of_its_design_its_configuration_and_its_seed():
    cells = _cells(_asked())
    assert [(each.seed, each.configuration) for each in cells] == [
        (0, "near"), (0, "mixture"), (1, "near"), (1, "mixture"),
    ]  # fmt: skip
    last = cells[-1].params
    assert last["preprocess"]["unseen"] == ["bot", "infiltration"]
    assert (last["preprocess"]["attempted"], last["stage2"]["detector"]) == ("benign", "gmm")
    assert (last["preprocess"]["seed"], last["stage1"]["fit"]["seed"], last["stage2"]["fit"]["seed"]) == (1, 1, 1)
    assert last["ingest"]["path"] == "/data"


def test_a_design_that_leaves_out_families_has_a_cell_for_each_that_the_records_have():
    cells = _cells(_asked(), "each", configurations=["near"], seeds=[3])
    assert {each.left_out: each.unseen for each in cells} == {"dos": ("dos_hulk", "dos_slowloris"), "bot": ("bot",)}
    assert cells[0].name.startswith("each-dos-near-3-")


def test_a_name_depends_on_all_that_decides_the_figures_and_on_nothing_else():
    name = {each.name for each in _cells(_asked())}
    assert name == {each.name for each in _cells(_asked(), path=Path("/elsewhere"))}
    assert name == {each.name for each in _cells(_asked(level=0.9, threshold="p97"))}
    changed = _params()
    changed["calibrate"]["fusion"] = "max"
    for others in (_cells(_asked(), params=changed), _cells(_asked(), records="s"), _cells(_asked(), code="d")):
        assert not name & {each.name for each in others}


@given(st.permutations(["stage2.detector", "calibrate.fusion", "preprocess.features.scaling"]))
def test_the_order_of_overrides_changes_no_name(keys):
    values = {"stage2.detector": "knn", "calibrate.fusion": "max", "preprocess.features.scaling": "unit"}
    first, second = (
        _cells(_asked(configurations={"a": {key: values[key] for key in order}})) for order in (values, keys)
    )
    assert [each.name for each in first] == [each.name for each in second]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"designs": ["ones"]}, r"no design 'ones' \(did you mean 'one'\?\); known: each, one"),
        ({"configurations": ["mixtur"]}, r"no configuration 'mixtur' \(did you mean 'mixture'\?\)"),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_miss(asked, message):
    with pytest.raises(ConfigError, match=message):
        Grid.of(_params(), _asked(), **asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configurations": {"a": {"stage3.detector": "knn"}}}, r"configurations.a: 'stage3.detector' .*'stage2'"),
        ({"configurations": {"a": {"stage2.fit.epoch": 1}}}, r"configurations.a: stage2.fit.epoch.*'epochs'"),
        ({"configurations": {"a": {"stage2.fit.epochs": 0}}}, r"configurations.a: stage2.fit.epochs"),
        ({"configurations": {"a": {"preprocess.seed": 0}}}, r"preprocess.seed is set by the grid itself"),
        ({"configurations": {"A b": {}}}, r"benchmark.configurations"),
        ({"designs": {"a": {"records": "."}}}, r"either unseen names attacks or leave_out names families"),
        ({"designs": {"a": {"records": ".", "unseen": ["bot"], "mix": {"bots": 1}}}}, r"bots is not among unseen"),
        ({"designs": {"a": {"records": ".", "unsen": ["bot"]}}}, r"designs.a.unsen: unknown key .*'unseen'"),
        ({"seeds": []}, r"benchmark.seeds"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_runs(changes, message):
    with pytest.raises(ConfigError, match=message):
        Grid.of(_params(), _asked(**changes))


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"unseen": ["bott"]}, r"designs.one.unseen: 'bott' is no attack \(did you mean 'bot'\?\)"),
        ({"leave_out": ["ddoss"]}, r"designs.one.leave_out: 'ddoss' is no family \(did you mean 'ddos'\?\)"),
        ({"unseen": ["heartbleed"]}, r"no unseen attack: none of heartbleed; they have bot, dos_hulk"),
        ({"leave_out": ["heartbleed"]}, r"no unseen attack: none of heartbleed"),
    ],
)
def test_an_attack_or_family_that_is_unknown_or_absent_is_refused(design, message):
    with pytest.raises(ConfigError, match=message):
        _cells(_asked(designs={"one": {"records": "."} | design}))


def test_a_seed_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"preprocess.seed"):
        _cells(_asked(), seeds=[-1])


def test_every_design_and_configuration_that_is_shipped_builds(monkeypatch):
    monkeypatch.chdir(ROOT)  # where the presets lie
    shipped = Grid.of(_params(), settings.load(ROOT / "benchmark.yaml"))
    assert set(shipped.designs) >= {"paper", "corrected", "corrected_attempted_benign", "leave_one_family_out"}
    assert len(shipped.seeds) >= 5
