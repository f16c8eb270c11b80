"""The first ten minutes: what `make run` does in which order, and what it says at the end."""

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.states import Completed, Failed

from flows import promotion, quickstart, score, training
from flows.reports import summary
from flows.reports.decisions import Outcome
from flows.runtime import gpu, servers, working_copy
from pipeline.base.errors import ConfigError, DataError
from pipeline.serving import loading
from pipeline.serving.version import Version

ROOT = Path(__file__).parents[2]
VERSION = Version(3, "r" * 32, "d" * 64, {}, ("candidate",))


@pytest.fixture
def flows(tmp_path, monkeypatch):
    """The three flows, pretended; what was called is told in order."""
    monkeypatch.chdir(tmp_path)
    told = SimpleNamespace(called=[], outcome=Outcome("promoted", VERSION, None, ()), dataset="synthetic")

    def pretend(name, state):
        def run(*arguments, **_):
            told.called.append((name, *arguments))
            return state()

        return run

    @contextmanager
    def server(_):
        yield

    monkeypatch.setattr(working_copy, "check", lambda root: told.called.append(("check",)))
    monkeypatch.setattr(servers, "connected", server)
    monkeypatch.setattr(gpu, "ensure_devices", lambda: None)
    monkeypatch.setattr(training, "training", pretend("train", lambda: Completed(data=("parent", []))))
    monkeypatch.setattr(promotion, "promotion", pretend("promote", lambda: Completed(data=told.outcome)))
    monkeypatch.setattr(score, "here", pretend("score", lambda: "200 records scored"))
    monkeypatch.setattr(loading, "load", lambda alias: (VERSION, SimpleNamespace(dataset=told.dataset)))
    monkeypatch.setattr(summary, "text", lambda parent, rows: "the tables")
    return told


def test_it_trains_promotes_scores_and_says_what_was_found_and_what_comes_next(flows, capsys):
    assert quickstart.main([]) == 0
    assert flows.called == [("check",), ("train",), ("promote",), ("score", [quickstart.EXAMPLE])]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "the tables"
    assert "Version 3 passed the gate and is the champion." in said
    assert "200 records scored" in said
    assert said[-2].split() == ["report", "data/reports/report.html"]
    assert said[-1].split()[:4] == ["next", said[-1].split()[1], "score", "YOUR_RECORDS.csv"]


def test_a_first_model_that_the_gate_refuses_scores_nothing_and_says_why(flows, capsys):
    flows.outcome = Outcome("refused", VERSION, None, ("benign FPR 0.2",))
    assert quickstart.main([]) == 0
    said = capsys.readouterr().out
    assert [name for name, *_ in flows.called] == ["check", "train", "promote"]
    assert "version 3: refused: benign FPR 0.2." in said
    assert "No model serves, so nothing was scored." in said
    assert "promote --dry-run" in said.splitlines()[-1]


def test_where_the_gate_keeps_the_champion_it_scores(flows, capsys):
    flows.outcome = Outcome("refused", Version(4, "r" * 32, "e" * 64, {}, ()), VERSION, ("recall",))
    assert quickstart.main([]) == 0
    assert "version 4: refused: recall.\n200 records scored" in capsys.readouterr().out


def test_a_second_call_says_that_nothing_has_changed(flows, capsys):
    flows.outcome = Outcome("unchanged", VERSION, VERSION, ("byte for byte",))
    assert quickstart.main([]) == 0
    assert "Version 3 is the champion already: nothing has changed.\n200 records scored" in capsys.readouterr().out


def test_a_model_of_another_format_does_not_score_the_example(flows, capsys):
    flows.dataset = "nslkdd"
    assert quickstart.main([]) == 0
    assert ("score", [quickstart.EXAMPLE]) not in flows.called
    assert "data/reports/report.html" in capsys.readouterr().out


@pytest.mark.parametrize("module", [training, promotion])
def test_a_flow_that_fails_ends_the_program_with_its_word(flows, monkeypatch, capsys, module):
    flow = module.__name__.rpartition(".")[2]
    monkeypatch.setattr(module, flow, lambda *_, **__: Failed(data=DataError("the records are bad")))
    assert quickstart.main([]) == 1
    assert capsys.readouterr().err == "quickstart: the records are bad\n"


def test_an_example_that_cannot_be_scored_ends_the_program_with_its_word(flows, monkeypatch, capsys):
    def fail(*_, **__):
        raise score.ScoringError("nothing was scored")

    monkeypatch.setattr(score, "here", fail)
    assert quickstart.main([]) == 1
    assert capsys.readouterr().err == "quickstart: nothing was scored\n"


def test_a_folder_that_cannot_work_is_refused_before_anything_runs(flows, monkeypatch, capsys):
    def refuse(_):
        raise ConfigError("here: is no git repository; run `git init`")

    monkeypatch.setattr(working_copy, "check", refuse)
    assert quickstart.main([]) == 1
    assert capsys.readouterr().err == "quickstart: here: is no git repository; run `git init`\n"
    assert flows.called == []


def test_make_says_before_it_installs_that_the_folder_is_no_repository(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = subprocess.run(["make", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert "is no git repository, and DVC does not work without one" in done.stderr
    assert "git init && git add --all && git commit" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_help_comes_before_anything_heavy():
    script = "import sys; from flows import quickstart\ntry: quickstart.main(['--help'])\nexcept SystemExit: pass\n"
    check = "print(*{'prefect', 'mlflow', 'torch', 'dvc'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script + check], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.splitlines()[-1], done.stdout[:6]) == ("", "usage:"), done
