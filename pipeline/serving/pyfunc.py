"""The registered model, as code: raw records in, decisions out. MLflow runs this file, nothing imports it.

Its artefact ``bundle`` is a ``pipeline.serving.bundle.Bundle``. Its configuration has the digest, the device, and what
becomes of a model that no longer finds its canaries: ``refuse``, ``warn`` or ``off``; see ``canary_check``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.utils.yaml_utils import read_yaml

from pipeline.base import escaping
from pipeline.base.errors import ConfigError, DataError, SilentModelError
from pipeline.calibration.prediction import Prediction
from pipeline.serving import calls, canary_check
from pipeline.serving.bundle import Bundle
from pipeline.serving.calls import Call
from pipeline.serving.contract_check import rules_of
from pipeline.serving.reasons import Explainer
from pipeline.serving.time_units import AUTO

LOG = escaping.log("flowsculpt")
SCORES = ("score", "p_value", "confidence", "verdict", "margin", "detector", "head", "density", "level")
WHY = ("driver", "kind", "family", "reasons")


class RegisteredModel(PythonModel):  # type: ignore[misc]  # mlflow has no types
    """Decides on raw records with the bundle that was registered, and with no other."""

    def load_context(self, context: Any) -> None:
        """Load the bundle.

        Raises:
            ArtifactError: it is not the one that was registered.
            SilentModelError: it no longer finds what it found when it was made.
        """
        folder, config = Path(context.artifacts["bundle"]), context.model_config
        self.bundle = Bundle.load(folder, config["device"], config["digest"])
        self.version, self.canaries = _version(folder.parents[1]), config["canaries"]
        canary_check.require(self.bundle, self.canaries, "the model")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Decide on raw records.

        Args:
            context: that of MLflow, unused.
            model_input: n rows with the raw columns that the model reads, under their canonical names or those of the
                published files; numbers of any type, other columns are passed over.
            params: ``time_unit`` of the records, ``us``, ``ms``, ``s`` or ``ns``; by default ``auto``: as they show it.
                ``contract``: what becomes of records that are unlike those that the model was fitted on: ``warn``, the
                default, or ``refuse``. ``reasons``: how many are given of each record that exceeds a threshold; by
                default 0.

        Returns:
            n rows: score, p_value, confidence, verdict, the scores of the two stages, margin and detector, and that of
            a supervised head, NaN where there is none. ``density`` repeats ``detector`` under its former name, for one
            version. ``contract`` says in each row how the call stands to what the model was fitted on: kept, broken,
            undecided or none. ``notice`` of the first row says what the caller should know; it is logged, too.
            ``level`` is the strictest threshold that a record exceeds, "" for none. ``thresholds`` is a JSON object:
            the name of each threshold by which the record was judged -> the score, null for an infinite one.
            ``model_digest`` says which model it is; the registry has it as the tag ``flowsculpt.digest`` of a version.
            ``model_version`` is the number of that version, None where the model was not loaded by its name in the
            registry.
            Where reasons are asked for: ``driver``, the score with the largest share; ``kind``, what the reasons are
            about; ``family``, the known attacks that it is most like; and ``reasons``, a JSON list of objects with the
            fields of ``alerts.schema.Reason``. All four are "" of other records.

        Raises:
            MlflowException: a column is missing, or holds what it should not; or the records are refused, or the model.
        """
        try:
            asked = dict(params or {})
            most = _number(asked.pop("reasons", 0))
            canary_check.require(self.bundle, self.canaries, "the model")
            call = self._read(pd.DataFrame(model_input), **asked)
            judged = self.bundle.predict(call.records)
            why = self._why(call, judged, most)
        except (ConfigError, DataError) as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        except SilentModelError as error:
            raise MlflowException(str(error)) from error
        notice = [" ".join(call.sentences), *[""] * (len(model_input) - 1)][: len(model_input)]
        said = {name: getattr(judged, name) for name in SCORES} | {"contract": call.state, "notice": notice}
        said |= {"thresholds": self._thresholds(judged), "model_digest": self.bundle.digest}
        said |= {"model_version": pd.Series([self.version] * len(model_input), model_input.index, dtype=object)} | why
        return pd.DataFrame(said, index=model_input.index)

    def _thresholds(self, judged: Prediction) -> list[str]:
        """(n,) the thresholds of the decision that judged each record, as JSON."""
        decisions = self.bundle.calibration.decisions
        text = {name: _as_json(decisions[name].thresholds) for name in {*judged.group.tolist()}}
        return [text[name] for name in judged.group.tolist()]

    def _why(self, call: Call, judged: Prediction, most: int) -> dict[str, list[str]]:
        """Column of ``WHY`` -> (n,) texts."""
        said = {name: [""] * len(judged.score) for name in WHY}
        rows = np.flatnonzero(judged.level != "") if most else np.zeros(0, np.intp)
        if not len(rows):
            return said
        records = {name: values.take(pa.array(rows)) for name, values in call.records.items()}
        scores = {name: each[rows] for name, each in judged.scores.items()}
        for row, each in zip(rows.tolist(), self._explainer.explain(records, None, most, scores=scores), strict=True):
            reasons = json.dumps([asdict(cause.reason) for cause in each.causes])
            for name, text in zip(WHY, (each.driver, each.kind, each.family or "", reasons), strict=True):
                said[name][row] = text
        return said

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.bundle)

    def _read(self, frame: pd.DataFrame, time_unit: str = AUTO, contract: str = "warn") -> Call:
        call = calls.read(frame, self.bundle, time_unit, rules_of(contract))
        if call.sentences:
            LOG.warning("%s", " ".join(call.sentences))
        return call


def _version(model: Path) -> int | None:
    """The number that a model has in the registry, by the file that MLflow writes beside what it fetches from there.

    A model is packed before it has a number, so nothing that is packed can say it.
    """
    if not (model / REGISTERED_MODEL_META_FILE_NAME).is_file():
        return None
    said = str(read_yaml(str(model), REGISTERED_MODEL_META_FILE_NAME).get("model_version"))
    return int(said) if said.isdecimal() else None


def _as_json(thresholds: Mapping[str, float]) -> str:
    """JSON knows no infinity, which a threshold of the published cascade may be; it is null."""
    return json.dumps({name: edge if math.isfinite(edge) else None for name, edge in thresholds.items()})


def _number(asked: Any) -> int:
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
        raise ConfigError(f"reasons is {asked!r}, allowed are whole numbers from 0 on")
    return asked


set_model(RegisteredModel())
