"""Five alerts of an attack that nobody knew are confirmed; training learns them, and the gate decides on the model."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.conftest import Project

ATTACKS = {"flood": 120, "scan": 120, "bot": 80, "infiltration": 80}
SETTINGS = {
    "ingest": {"dataset": "table", "path": "records.csv", "table": {"label": "verdict", "benign": ["ok"]}},
    "preprocess": {"unseen": ["bot", "infiltration"]},
    "stage2": {"calibration": {"folds": 2}, "boosting": {"families": "together"}},
    "evaluate": {"bootstrap": {"rounds": 100}, "latent_map_rows": 200},
    "promotion": {"min_benign": 200, "rounds": 100},
}


def _records(seed, benign, attacks):
    """Records with eight numbers; each attack lies out in a feature of its own."""
    generator = np.random.default_rng(seed)
    verdict = np.repeat(["ok", *attacks], [benign, *attacks.values()])
    numbers = generator.standard_normal((len(verdict), 8)).round(3)
    for feature, attack in enumerate(attacks):
        numbers[verdict == attack, feature] += 7
    return pd.DataFrame(numbers, columns=[f"x{column}" for column in range(8)]).assign(verdict=verdict)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A project with a champion, and traffic that has come in since: benign records, and 30 of a miner."""
    made = Project(tmp_path_factory.mktemp("labels"))
    made.settings(SETTINGS)
    made.commit()
    _records(0, 1500, ATTACKS).to_csv(made.folder / "records.csv", index=False)
    made.new = _records(1, 270, dict.fromkeys([*ATTACKS, "miner"], 0) | {"miner": 30})
    made.new.drop(columns="verdict").to_csv(made.folder / "new.csv", index=False)
    made.call("flowsculpt", "train", "--promote")
    return made


def _scored(project, version):
    (table,) = (project.folder / "data" / "scored").glob(f"new.csv-*-v{version}.parquet")
    found = pd.read_parquet(table).sort_values("row")
    return found.assign(verdict_of_people=project.new["verdict"].to_numpy())


def _decisions(project):
    return [json.loads(line) for line in (project.folder / "data" / "promotions.jsonl").read_text().splitlines()]


def test_five_labels_go_through_training_and_the_gate(network):
    network.call("flowsculpt", "score", "new.csv")
    before = _scored(network, 1)
    alerts = before[before.verdict_of_people == "miner"].nlargest(5, "score")
    ids = [f"{number:016x}" for number in alerts.record_id]
    refused = network.call("flowsculpt", "label", *ids, "--confirmed", "crypto miner", ok=False)
    assert "'crypto miner' is no known attack" in refused
    said = network.call("flowsculpt", "label", *ids, "--confirmed", "crypto miner", "--new", "--by", "ada")
    assert "5 labels in data/labels.jsonl" in said
    (network.folder / "new.csv").rename(network.folder / "later.csv")
    network.commit()
    network.call("flowsculpt", "train", "--promote")
    splits = json.loads((network.folder / "data" / "reports" / "preprocess" / "splits.json").read_text())
    assert splits["labels_of_analysts"]["confirmed"] == {"crypto_miner": 5}
    assert len(_decisions(network)) == 2
    assert _decisions(network)[1]["decision"] in ("promoted", "refused")
