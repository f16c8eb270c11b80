"""The registered model, as code: raw records in, decisions out. MLflow runs this file, nothing imports it.

Its artefact ``bundle`` is a ``pipeline.serving.bundle.Bundle``. Its configuration has the digest and the device.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from pipeline.base.errors import ArtifactError, DataError
from pipeline.serving import frames
from pipeline.serving.bundle import Bundle


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
            params: none.

        Returns:
            n rows: score, p_value, confidence, verdict, the scores of the two stages, margin and detector, and that of
            a supervised head, NaN where there is none. ``density`` repeats ``detector`` under its former name, for one
            version.

        Raises:
            MlflowException: a column is missing, or holds what it should not.
        """
        try:
            judged = self.bundle.predict(frames.records(pd.DataFrame(model_input), self.bundle))
        except DataError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        names = ("score", "p_value", "confidence", "verdict", "margin", "detector", "head", "density")
        return pd.DataFrame({name: getattr(judged, name) for name in names}, index=model_input.index)


set_model(RegisteredModel())
