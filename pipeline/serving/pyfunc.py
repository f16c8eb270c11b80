"""The registered model, as code: raw records in, decisions out. MLflow runs this file, nothing imports it.

Its artefact ``bundle`` is a ``pipeline.serving.bundle.Bundle``. Its configuration has the digest and the device.
"""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from pipeline.base.errors import ArtifactError, ConfigError, DataError
from pipeline.serving import calls
from pipeline.serving.bundle import Bundle
from pipeline.serving.calls import Call
from pipeline.serving.contract_check import rules_of
from pipeline.serving.time_units import AUTO

LOG = logging.getLogger("flowsculpt")
SCORES = ("score", "p_value", "confidence", "verdict", "margin", "detector", "head", "density")


class RegisteredModel(PythonModel):  # type: ignore[misc]  # mlflow has no types
    """Decides on raw records with the bundle that was registered, and with no other."""

    def load_context(self, context: Any) -> None:
        """Load the bundle.

        Raises:
            ArtifactError: it is not the one that was registered.
        """
        folder, config = Path(context.artifacts["bundle"]), context.model_config
        self.bundle = Bundle.load(folder, config["device"])
        if self.bundle.digest != config["digest"]:
            raise ArtifactError(f"{folder}: has the digest {self.bundle.digest}, {config['digest']} was registered")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Decide on raw records.

        Args:
            context: that of MLflow, unused.
            model_input: n rows with the raw columns that the model reads, under their canonical names or those of the
                published files; numbers of any type, other columns are passed over.
            params: ``time_unit`` of the records, ``us``, ``ms``, ``s`` or ``ns``; by default ``auto``: as they show it.
                ``contract``: what becomes of records that are unlike those that the model was fitted on: ``warn``, the
                default, or ``refuse``.

        Returns:
            n rows: score, p_value, confidence, verdict, the scores of the two stages, margin and detector, and that of
            a supervised head, NaN where there is none. ``density`` repeats ``detector`` under its former name, for one
            version. ``contract`` says in each row how the call stands to what the model was fitted on: kept, broken,
            undecided or none. ``notice`` of the first row says what the caller should know; it is logged, too.

        Raises:
            MlflowException: a column is missing, or holds what it should not; or the records are refused.
        """
        try:
            call = self._read(pd.DataFrame(model_input), **(params or {}))
            judged = self.bundle.predict(call.records)
        except (ConfigError, DataError) as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        notice = [" ".join(call.sentences), *[""] * (len(model_input) - 1)][: len(model_input)]
        said = {name: getattr(judged, name) for name in SCORES} | {"contract": call.state, "notice": notice}
        return pd.DataFrame(said, index=model_input.index)

    def _read(self, frame: pd.DataFrame, time_unit: str = AUTO, contract: str = "warn") -> Call:
        call = calls.read(frame, self.bundle, time_unit, rules_of(contract))
        if call.sentences:
            LOG.warning("%s", " ".join(call.sentences))
        return call


set_model(RegisteredModel())
