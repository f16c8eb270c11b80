"""Two networks in one MLflow: each has a champion, runs, scored records and a lineage of its own."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from flows import adopt, drift_check, lineage, promotion, training
from flows.runtime import gpu, servers, working_copy
from pipeline import AlarmModel, config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, read_lines, write_json
from pipeline.base.errors import ArtifactError, FlowsculptError
from pipeline.serving import arrivals, batch, loading, own_model, quarantine, registry, scored
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.trust import keys
from tests.flows.test_promotion_flow import COLUMNS, SETTINGS, World

SHIPPED = Path(__file__).parents[2] / config.PARAMS
VARIABLES = ("DVC_ROOT", tracking.PARENT_VARIABLE, tracking.ROOT_VARIABLE)

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of its own code where it saves a model


class Clone:
    """A clone of the project, which shares MLflow and even ``data`` with the others."""

    def __init__(self, root, name, shared):
        self.folder, self._uri = root / name, f"sqlite:///{root}/mlflow/store.db"
        self.folder.mkdir()
        (self.folder / "data").symlink_to(shared)
        params = yaml.safe_load(SHIPPED.read_text())
        params["promotion"] |= SETTINGS
        params["tracking"] = {"experiment": name, "model": name}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def enter(self, patch):
        patch.chdir(self.folder)
        patch.setenv("MLFLOW_TRACKING_URI", self._uri)
        for variable in VARIABLES:
            patch.delenv(variable, raising=False)

    def register(self, bundle):
        run = tracking.open_parent("training", {})
        tracking.close_parent(run)
        bundle.save(self.folder / bundle.digest)
        return registry.register(self.folder / bundle.digest, run, {})


def of_dataset(bundle, name):
    """The same model, but of records of another kind."""
    return Bundle.of_sealed(HashedFolder({**bundle.sealed.about, "dataset": name}, bundle.sealed.files), Path("made"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Of the model that has the shipped name version 2 serves; of the model zeek version 1."""
    root = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        (root / "world").mkdir()
        patch.chdir(root / "world")
        world = World()
        write_json(paths.SOURCE, {"dataset": "table of flows", "synthetic": True})
        models = {percentile: world.bundle(root / "saved", percentile=percentile) for percentile in (99.0, 98.9, 94.0)}
        names = {"flows": "flowsculpt", "zeek": "zeek", "mixed": "mixed", "empty": "empty"}
        clones = {key: Clone(root, name, root / "world/data") for key, name in names.items()}
        for clone in clones.values():
            clone.enter(patch)
            keys.init()  # each clone has its own, and they share the list of those that are trusted
        for key, chosen in {"flows": (99.0, 98.9), "zeek": (98.9, 94.0)}.items():
            clones[key].enter(patch)
            for each in chosen:
                clones[key].register(models[each])
                assert promotion.promote().kind == ("refused" if each == 94.0 else "promoted")
    return SimpleNamespace(**clones, models=models)


@pytest.fixture
def networks(made, monkeypatch):
    made.flows.enter(monkeypatch)
    made.patch = monkeypatch
    return made


def aliases():
    return {alias: version.number for version in registry.versions() for alias in version.aliases}


def new_records(folder, seed):
    """A file with 300 new records."""
    rows = np.random.default_rng(seed).standard_normal((300, len(COLUMNS)))
    path = folder / f"new{seed}.csv"
    np.savetxt(path, rows, delimiter=",", header=",".join(COLUMNS), comments="")
    return arrivals.identify(path, path)


def test_each_network_has_versions_aliases_and_runs_of_its_own(networks):
    assert aliases() == {"candidate": 2, "champion": 2, "previous": 1}
    runs, champion = tracking.run_ids(), registry.find_version("champion")
    assert len(runs) == 2 and champion.digest == networks.models[98.9].digest
    networks.zeek.enter(networks.patch)
    assert aliases() == {"candidate": 2, "champion": 1}
    assert [str(version) for version in registry.versions()] == ["version 2 of zeek", "version 1 of zeek"]
    assert not {*runs} & {*tracking.run_ids()}
    assert all(tracking.find_run(run) is None for run in runs)
    assert registry.find_version("champion").digest == champion.digest  # the same model, under two names
    networks.empty.enter(networks.patch)
    assert registry.versions() == [] and tracking.run_ids() == []
    with pytest.raises(ArtifactError, match="no version 'champion' of the model 'empty'; train one"):
        loading.load()


def test_a_rollback_moves_the_champion_of_its_own_network_alone(networks):
    assert promotion.roll_back().kind == "rolled back"
    assert aliases()["champion"] == 1
    networks.zeek.enter(networks.patch)
    assert aliases() == {"candidate": 2, "champion": 1}
    assert promotion.roll_back().kind == "impossible"
    assert not registry.find_version(1).tags.get("flowsculpt.rolled_back")
    networks.flows.enter(networks.patch)
    assert promotion.roll_back().kind == "rolled back"
    assert aliases()["champion"] == 2


def test_the_log_of_promotions_names_the_model_of_each_line(networks):
    for clone, decisions in ((networks.flows, ["promoted", "promoted"]), (networks.zeek, ["promoted", "refused"])):
        lines = read_lines(clone.folder / paths.PROMOTIONS)
        own = [line["decision"] for line in lines if line["model"] == clone.folder.name]
        assert own[:2] == decisions
        assert "found" not in own


def test_what_one_network_has_scored_is_new_to_the_other(networks, tmp_path):
    file = new_records(tmp_path, 0)
    batch.score(file, loading.load("1")[1], 1)
    own = paths.SCORED / f"{file.key(1)}.parquet"
    before = own.read_bytes()
    assert scored.is_scored(file, 1) and scored.recent(1, 1000).score.size == 300
    networks.zeek.enter(networks.patch)
    assert own.exists()  # the clones share the folder
    assert not scored.is_scored(file, 1) and scored.recent(1, 1000).score.size == 0
    batch.score(file, loading.load("1")[1], 1)
    theirs = paths.SCORED / "models" / "zeek"
    assert (theirs / own.name).exists() and own.read_bytes() == before
    summary = read_json(theirs / "summaries" / f"{own.stem}.json")
    assert (summary["version"], summary["model"]) == (1, "zeek")
    assert scored.recent(1, 1000).score.size == 300
    assert arrivals.listed(Path("data/scored")) == []  # a folder of results is no folder of new records
    networks.flows.enter(networks.patch)
    assert scored.recent(1, 1000).files == 1


def test_what_one_network_cannot_read_the_other_may_try(networks):
    paths.INCOMING.mkdir(exist_ok=True)
    for number, clone in enumerate((networks.flows, networks.zeek)):
        clone.enter(networks.patch)
        path = paths.INCOMING / f"bad{number}.csv"
        path.write_text(f"nothing,{number}")
        file = arrivals.identify(path, path)
        held = quarantine.put(path, file.name, file.sha256, 1, "no records")
        assert Path(held.path).parent == own_model.quarantine()
        assert quarantine.known(file.sha256, 1) == held
        other = networks.zeek if clone is networks.flows else networks.flows
        other.enter(networks.patch)
        assert quarantine.known(file.sha256, 1) is None


def test_a_drift_check_counts_the_records_of_its_own_network(networks, tmp_path):
    _, bundle = loading.load()
    batch.score(new_records(tmp_path, 1), bundle, 2)
    n = scored.recent(2, 10_000).score.size
    assert n >= 300
    assert f"undecided: version 2 has scored {n:,} records" in drift_check.drift_check.fn().message
    networks.zeek.enter(networks.patch)
    assert "undecided: version 2 of zeek has scored 0 records" in drift_check.drift_check.fn("candidate").message


def test_lineage_stays_within_its_network(networks, tmp_path):
    file, (_, bundle) = new_records(tmp_path, 2), loading.load()
    batch.score(file, bundle, 2)
    path = f"{paths.SCORED}/{file.key(2)}.parquet"
    chain, own = lineage.trace(path), registry.find_version(2)
    assert (chain["version"]["digest"], chain["run"]["id"]) == (own.digest, own.run_id)
    assert f"2 of flowsculpt (candidate, champion), digest {own.digest}" in lineage.as_text(chain)
    networks.zeek.enter(networks.patch)
    chain = lineage.trace(path)
    assert [*chain] == ["scored", "doubts"]
    assert "version 2 of flowsculpt scored it, and the model of this project is zeek" in lineage.as_text(chain)
    assert lineage.trace("1")["run"]["id"] == registry.find_version(1).run_id
    with pytest.raises(ArtifactError, match="is no alert, no file, no version or alias and no run"):
        lineage.trace(own.run_id)


def test_python_names_model_and_alias(networks):
    assert AlarmModel.load("1").bundle_.digest == networks.models[99.0].digest
    assert AlarmModel.load("1", model="zeek").bundle_.digest == networks.models[98.9].digest
    assert AlarmModel.load("candidate", model="zeek").bundle_.digest == networks.models[94.0].digest
    with pytest.raises(ArtifactError, match=r"no version 'previous' of the model 'zeek'$"):
        AlarmModel.load("previous", model="zeek")


def test_the_gate_does_not_compare_models_of_two_kinds_of_records(networks):
    networks.mixed.enter(networks.patch)
    networks.mixed.register(of_dataset(networks.models[99.0], "zeek conn.log"))
    assert promotion.promote().kind == "promoted"
    networks.mixed.register(of_dataset(networks.models[98.9], "cicids2017 corrected"))
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, aliases()["champion"]) == ("refused", 3, 1)
    (reason,) = outcome.reasons
    assert reason.startswith("the champion reads zeek records, this candidate cicids2017 ones")
    assert "give the candidate a name of its own, tracking.model" in reason


@pytest.mark.parametrize("pair", [("synthetic", "cicids2017"), ("pcap", "cicids2017"), ("table a", "table b")])
def test_models_of_one_kind_of_records_are_compared(networks, pair):
    from pipeline.serving import heldout

    heldout.require_same_kind(*(of_dataset(networks.models[99.0], name) for name in pair))


@pytest.mark.parametrize(("given", "stops"), [([], True), (["--no-promote"], False)])
def test_adopt_says_so_before_it_trains(networks, tmp_path, monkeypatch, capsys, given, stops):
    class TrainsError(FlowsculptError):
        """The stages would run."""

    def trains(**_):
        raise TrainsError("the stages run")

    of_zeek = of_dataset(networks.models[99.0], "zeek conn.log")
    monkeypatch.setattr(loading, "load", lambda alias: (registry.find_version(1), of_zeek))
    monkeypatch.setattr(working_copy, "check", lambda root: None)
    monkeypatch.setattr(servers, "connected", lambda program: nullcontext())
    monkeypatch.setattr(gpu, "ensure_devices", lambda: None)
    monkeypatch.setattr(training, "training", trains)
    before = Path("params.yaml").read_bytes()
    (tmp_path / "week.csv").touch()
    assert adopt.main([str(tmp_path / "week.csv"), "--dataset", "cicids2017", *given]) == 1
    said = capsys.readouterr().err
    assert ("these are cicids2017 records, and the champion reads zeek ones" in said) is stops
    assert ("the stages run" in said) is not stops
    assert "tracking.model" in said or not stops
    assert Path("params.yaml").read_bytes() == before
