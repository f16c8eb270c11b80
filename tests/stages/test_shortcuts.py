"""A label that has leaked into a column stops the line; what genuine features tell does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import ExpectationError

PARAMS = Path(__file__).parents[2] / "params.yaml"
ROWS = 800
NAMES = np.array(["bot", "dos", "normal", "scan", "worm"])  # normal in the middle, where codes have it
Leak = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


def few(random: np.random.Generator) -> NDArray[np.intp]:
    """One of a hundred rows."""
    return random.choice(ROWS, ROWS // 100, replace=False)


def wrong(values: NDArray[Any], random: np.random.Generator, others: Any) -> NDArray[Any]:
    values[few(random)] = others
    return values


LEAKS: dict[str, Leak] = {
    "as_it_is": lambda name, random: name != "normal",
    "rising": lambda name, random: np.exp(3.0 * (name != "normal") + random.random(ROWS)),
    "falling": lambda name, random: -np.log1p((name != "normal") + random.random(ROWS) / 2),
    "missing_in_1_percent": lambda name, random: wrong((name != "normal") * 1.0, random, np.nan),
    "noise_in_1_percent": lambda name, random: wrong((name != "normal") * 1.0, random, random.normal(size=8)),
    "wrong_in_1_percent": lambda name, random: np.where(
        np.isin(np.arange(ROWS), few(random)), name == "normal", name != "normal"
    ),
    "missing_where_benign": lambda name, random: np.where(name == "normal", np.nan, random.random(ROWS)),
    "code_of_the_attack": lambda name, random: np.searchsorted(NAMES, name),
}


PLACES: dict[str, Leak] = {  # attacks lie below, above and between benign records
    "number": lambda name, random: np.argsort(np.argsort(name, kind="stable")),
    "capture_time": lambda name, random: 1.7e9 + np.searchsorted(NAMES, name) * 3600 + random.permutation(ROWS),
    "shuffled_ids": lambda name, random: (
        np.array([3, 0, 2, 4, 1])[np.searchsorted(NAMES, name)] * 1e4 + random.permutation(ROWS)
    ),
}


def write(*leaks: str, names: tuple[str, ...] = ("bot", "dos", "scan", "worm")) -> None:
    """A table whose features tell most attacks well, where there are several, and a column for each leak."""
    random = np.random.default_rng(0)
    name = random.choice(["normal", *names], ROWS)
    size = random.normal(size=ROWS) + 2 * (name != "normal")
    rate = random.normal(size=ROWS) + 9 * (name == "bot")
    columns = {"size": size, "rate": rate} | {leak: (LEAKS | PLACES)[leak](name, random) * 1.0 for leak in leaks}
    cells = zip(*(each.tolist() for each in columns.values()), name, strict=True)
    Path("mine.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in [(*columns, "verdict"), *cells]))


@pytest.fixture
def mine(project: Any) -> Any:
    project.set("ingest.dataset", "table")
    project.set("ingest.path", "mine.csv")
    project.set("ingest.table.label", "verdict")
    return project


def test_a_leak_however_it_is_written_stops_the_line_and_says_what_to_do(mine: Any) -> None:
    write(*LEAKS)
    mine.run("ingest")
    message = mine.refusal("validate", ExpectationError)
    for leak in LEAKS:
        assert f"{leak!r} tells all 4 attacks from benign with an AUROC of " in message
    assert "validate.shortcuts.leak_auroc allows 0.97" in message
    assert "ingest.*.ignore_columns" in message
    assert "preprocess.features.drop" in message
    found = read_json(paths.REPORTS / "validate" / "shortcuts.json")
    assert set(found["leaks"]) == set(LEAKS)
    assert "The label has leaked into " in (paths.REPORTS / "validate" / "docs" / "index.html").read_text()


def test_a_column_that_tells_attacks_by_where_they_lie_stops_the_line(mine: Any) -> None:
    write(*PLACES)
    mine.run("ingest")
    message = mine.refusal("validate", ExpectationError)
    for leak in PLACES:
        assert f"{leak!r} tells all 4 attacks from benign by where its values lie" in message
    assert {*read_json(paths.REPORTS / "validate" / "shortcuts.json")["leaks"]} == {*PLACES}


def test_what_the_message_says_helps(mine: Any) -> None:
    write("as_it_is")
    mine.run("ingest")
    mine.set("validate.shortcuts.known", ["as_it_is"])
    mine.run("validate")
    mine.set("validate.shortcuts.known", [])
    mine.set("ingest.table.ignore_columns", ["as_it_is"])
    mine.run("ingest", "validate")


def test_a_label_that_leaked_into_a_table_of_one_attack_stops_the_line(mine: Any) -> None:
    write("as_it_is", names=("1",))
    mine.run("ingest")
    message = mine.refusal("validate", ExpectationError)
    assert "'as_it_is' tells the one attack from benign with an AUROC of 1.0000" in message
    assert "validate.shortcuts.leak_auroc_of_few allows 0.9999" in message


def test_a_feature_that_tells_the_one_attack_nearly_is_a_warning(mine: Any) -> None:
    write("noise_in_1_percent", names=("1",))
    mine.run("ingest", "validate")
    found = read_json(paths.REPORTS / "validate" / "shortcuts.json")
    assert found["leaks"] == []
    assert found["told_by_one_feature"] == ["attack"]


def test_a_genuine_table_passes_though_one_feature_tells_an_attack(mine: Any) -> None:
    write()
    mine.run("ingest", "validate")
    found = read_json(paths.REPORTS / "validate" / "shortcuts.json")
    assert found["told_by_one_feature"] == ["bot"]
    rows = (paths.REPORTS / "validate" / "shortcuts.csv").read_text().splitlines()
    assert rows[0] == "attack,records,feature,read_by,auroc,known"
    assert len(rows) == 1 + 4 * 2


def test_a_feature_of_the_week_that_holds_the_label_stops_the_line(project: Any) -> None:
    project.run("ingest", "validate")  # genuine records pass
    project.doctor(lambda columns: columns.update(bwd_urg_flags=[float(y) for y in columns["y"]]))
    message = project.refusal("validate", ExpectationError)
    assert "'bwd_urg_flags' tells all" in message


def test_what_is_known_to_be_a_shortcut_is_left_out_of_the_features() -> None:
    params = yaml.safe_load(PARAMS.read_text())
    assert set(params["validate"]["shortcuts"]["known"]) <= set(params["preprocess"]["features"]["drop"])
