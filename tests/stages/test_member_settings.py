"""A member of the ensemble has the settings of its own section, unless the ensemble says otherwise."""

import pytest

from pipeline import config
from pipeline.base.errors import ConfigError
from pipeline.settings.stage2 import Stage2
from pipeline.stages.detectors import builder, described
from tests.settings import ROOT


def settings(members, **sections):
    params = config.read(ROOT / config.PARAMS)
    params["stage2"] |= {name: params["stage2"][name] | changes for name, changes in sections.items()}
    params["stage2"]["ensemble"] = {"members": members}
    return config.build(Stage2, params, "changed")


def test_the_references_of_the_neighbours_hold_in_the_ensemble():
    given = settings({"knn": {}, "gmm": {}}, knn={"references": 77}, gmm={"components": 3})
    made = builder(given, "ensemble", "detector", 4)()
    assert (made.members["knn"].references, made.members["gmm"].components) == (77, 3)
    assert described(given, "ensemble", made, "abcd")["settings"]["members"]["knn"]["references"] == 77
    assert builder(given, "knn", "detector", 4)().references == 77


def test_the_ensemble_may_say_otherwise():
    given = settings({"knn": {"neighbours": 9, "references": 50}}, knn={"neighbours": 2, "references": 77})
    knn = builder(given, "ensemble", "detector", 4)().members["knn"]
    assert (knn.neighbours, knn.references, knn.metric) == (9, 50, "standardised")


@pytest.mark.parametrize("wrong", [{"knnn": {}}, {"knn": None}, ["knn"], {"knn": {"references": 0}}])
def test_members_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"members|references"):
        builder(settings(wrong), "ensemble", "detector", 4)()


def test_members_may_be_left_to_their_defaults():
    made = builder(settings(None), "ensemble", "detector", 4)()
    assert set(made.members) == {"knn", "gmm"}
