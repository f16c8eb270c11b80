"""A registry whose database is lost is made again from the log of promotions and the bundles that are kept."""

import shutil
from unittest.mock import Mock

import pytest

from flows import doctor, verify
from flows.reports import decisions
from flows.reports.decisions import Outcome
from pipeline import tracking
from pipeline.base.errors import ArtifactError, ConflictError, TrustError
from pipeline.serving import champion, loading, rebuilding, registry
from pipeline.serving.rebuilding import rebuild
from pipeline.serving.trust import chain, keys
from tests.tracking.conftest import made_bundle

VARIABLES = (tracking.PARENT_VARIABLE, "DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "FLOWSCULPT_SIGNING_KEY")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A project of its own: version 1 was only registered, 2 and 3 served, and both are kept."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        (folder / "params.yaml").touch()
        _serve(folder)
    return folder


def _serve(folder):
    run, before = tracking.open_parent("training", {}), None
    tracking.close_parent(run)
    for seed in range(3):
        made_bundle(seed=10 + seed).save(folder / str(seed))
        version = registry.register(folder / str(seed), run, {})
        if version.number > 1:
            after = registry.promote(version, before)
            decisions.log(Outcome("promoted", after, before, ("as asked",)), "")
            registry.fetch(after)
            before = after


@pytest.fixture
def lose(served, tmp_path_factory, monkeypatch):
    """Lose the database and the files of its versions: another folder gets all the rest."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(served)

    def lost():
        folder = tmp_path_factory.mktemp("again")
        for name in ("data", ".flowsculpt"):
            shutil.copytree(served / name, folder / name)
        (folder / "params.yaml").touch()
        monkeypatch.chdir(folder)

    return lost


def test_what_served_serves_again_under_its_number(lose, capsys):
    digests = {number: registry.find_version(number).digest for number in (2, 3)}
    lose()
    assert doctor.main(["--rebuild"]) == 0
    assert "version 1 of flowsculpt: was not kept, and its number is taken up" in capsys.readouterr().out
    version, _ = loading.load()
    assert (version.number, version.digest) == (3, digests[3])
    assert {alias: registry.find_version(alias).number for alias in loading.ALIASES} == {
        "candidate": 3,
        "champion": 3,
        "previous": 2,
    }
    assert registry.find_version(1) is None
    assert verify.main([]) == verify.main(["2"]) == 0
    assert registry.rollback().number == 2
    assert loading.load()[0].digest == digests[2]
    assert "version 2: has the alias previous" in rebuild()  # what it made itself, it takes up again, as the log says
    assert loading.load()[0].number == 3


def test_a_call_that_was_interrupted_is_followed_by_one_that_goes_on(lose, monkeypatch):
    lose()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rebuilding, "adopt", Mock(side_effect=KeyboardInterrupt))
        rebuild()
    assert registry.find_version("champion") is None
    rebuild()
    assert loading.load()[0].number == 3


def test_a_registry_that_is_not_lost_and_a_key_that_may_not_promote_are_refused(lose, monkeypatch):
    with pytest.raises(ConflictError, match="holds 3 versions of the model 'flowsculpt', so it is not lost"):
        rebuild()
    lose()
    keys.file().unlink()
    keys.init("trainer", promotes=False)
    with pytest.raises(TrustError, match="signs models and no promotions"):
        rebuild()
    assert registry.versions() == []


def test_what_is_not_kept_is_said_and_the_rest_is_made_again(lose):
    version = registry.find_version(3)
    lose()
    shutil.rmtree(champion.folder_of(3, version.digest))
    done = rebuild()
    assert done[-1] == "lost: versions 3, which served and are not kept here; a backup may have them"
    assert registry.find_version("previous").number == 2
    assert registry.find_version("champion") is None


def test_a_bundle_that_was_changed_is_not_registered(lose):
    version = registry.find_version(3)
    lose()
    for number, digest in ((3, version.digest), (2, chain.require().served("flowsculpt")[0].digest)):
        with (champion.folder_of(number, digest) / "detector.json").open("ab") as file:
            file.write(b" ")
    with pytest.raises(ArtifactError, match="no version of the model 'flowsculpt' that served is kept"):
        rebuild()


def test_a_log_that_was_changed_makes_nothing(lose):
    lose()
    log = chain.place()
    log.write_text(log.read_text().replace("as asked", "as I like", 1))
    with pytest.raises(TrustError, match="line 1 is forged or was changed"):
        rebuild()
