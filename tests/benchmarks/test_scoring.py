"""What the measurement of scoring does to what it measures: nothing."""

from types import SimpleNamespace

import numpy as np

from benchmarks import scoring


class Counted:
    @classmethod
    def made(cls, number):
        return cls, number

    def twice(self, number, *, more=0):
        return 2 * number + more


def test_functions_class_methods_and_generators_give_what_they_gave():
    clock, module = scoring.Clock(), SimpleNamespace(steps=lambda n: (number for number in range(1, n)))
    clock.wrap(Counted, "made", "made")
    clock.wrap(Counted, "twice", "twice")
    clock.wrap_steps(module, "steps", "steps")
    assert Counted.made(3) == (Counted, 3)
    assert Counted().twice(3, more=1) == 7
    assert [*module.steps(4)] == [1, 2, 3]
    assert {*clock.spent} == {"made", "twice", "steps"}


def test_what_runs_inside_a_part_is_counted_once(monkeypatch):
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(scoring.time, "thread_time", lambda: next(now))
    clock = scoring.Clock()
    with clock.running("all"), clock.running("inner"):
        pass
    assert clock.spent == {"inner": 3.0, "all": 7.0}


def test_the_records_are_one_file_with_one_header(tmp_path):
    scoring.simulate(tmp_path / "records.csv", 600)
    lines = (tmp_path / "records.csv").read_text(errors="replace").splitlines()
    assert len(lines) == 601
    assert sum("Flow Duration" in line for line in lines) == 1


def test_scikit_learn_is_asked_for_neighbours_and_trees():
    rng = np.random.default_rng(0)
    known, y = rng.normal(size=(200, 3)).astype(np.float32), (np.arange(200) % 4 == 0).astype(np.int64)
    assert len(scoring.scikit_learn(rng.normal(size=(50, 3)).astype(np.float32), known, y, 100, 3)()) == 2
