"""The tutorial, command by command: from a table of records to a champion that scores new files."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.documentation.pages import ROOT, commands
from tests.end_to_end.conftest import Project

TUTORIAL = [words for words in commands(ROOT / "docs" / "tutorial.md") if words[0] in {"dvc", "git", "flowsculpt"}]
ATTACKS = {"flood": 120, "scan": 120, "bot": 80, "infiltration": 80}
QUICK = {  # the same work, less of it
    "stage2": {"calibration": {"folds": 2}, "boosting": {"families": "together", "trees": 20}},
    "evaluate": {"bootstrap": {"rounds": 100}, "latent_map_rows": 200},
    "promotion": {"min_benign": 200, "rounds": 100},
}


def _records(seed, benign, attacks):
    """Records with eight numbers and a word; each attack lies far out in a feature of its own."""
    generator = np.random.default_rng(seed)
    verdict = np.repeat(["ok", *attacks], [benign, *attacks.values()])
    numbers = generator.standard_normal((len(verdict), 8)).round(3)
    for feature, attack in enumerate(attacks):
        numbers[verdict == attack, feature] += 7
    table = pd.DataFrame(numbers, columns=[f"x{column}" for column in range(8)])
    return table.assign(protocol=generator.choice(["tcp", "udp"], len(verdict)), verdict=verdict)


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    """The project in the hands of somebody who has a file of records."""
    made = Project(tmp_path_factory.mktemp("tutorial"))
    made.settings(QUICK)
    made.commit()
    _records(0, 1500, ATTACKS).to_csv(made.folder / "my_records.csv", index=False)
    (made.folder / "data" / "incoming").mkdir(parents=True)
    new = _records(1, 180, dict.fromkeys(ATTACKS, 5)).drop(columns="verdict")
    new.to_csv(made.folder / "data" / "incoming" / "today.csv", index=False)
    return made


@pytest.mark.timeout(1200)  # it trains twice, as its reader would
def test_the_tutorial_goes_from_a_file_to_a_champion_that_scores(learner):
    identity = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in TUTORIAL:
        output = learner.call(*words, **identity)
    reports = learner.folder / "data" / "reports"
    assert json.loads((reports / "metrics.json").read_text())["unseen"]["auroc"] > 0.7
    (decision,) = (learner.folder / "data" / "promotions.jsonl").read_text().splitlines()
    assert json.loads(decision)
    (scored,) = (learner.folder / "data" / "scored").glob("*.parquet")
    found = pd.read_parquet(scored)
    assert len(found) == 200
    assert {"score", "p_value", "confidence", "verdict"} <= set(found)
    assert output


def test_the_tutorial_has_its_commands():
    assert [" ".join(words[:2]) for words in TUTORIAL if words[0] == "flowsculpt"] == [
        "flowsculpt train",
        "flowsculpt score",
        "flowsculpt doctor",
    ]
