"""``AlarmModel``: learns what benign records look like, and raises calibrated alarms on what is unlike them.

It is what ``flowsculpt train`` registers and ``flowsculpt score`` uses, without servers and without MLflow. Not called
a detector: that word means one part of it, the second stage.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from pipeline.alarms import project
from pipeline.base.errors import ArtifactError, ConfigError, ContractWarning, TrainingError, near_miss
from pipeline.base.escaping import printable
from pipeline.calibration.prediction import Prediction
from pipeline.serving import calls, canary_check, loading
from pipeline.serving.bundle import Bundle
from pipeline.serving.causes import Explained
from pipeline.serving.contract_check import rules_of
from pipeline.serving.reasons import Explainer
from pipeline.serving.time_units import AUTO
from pipeline.settings.scoring import Action

ROOT = Path(__file__).parents[2]
WHY = ("driver", "kind", "family", "rank", "feature", "value", "benign", "fall", "share", "usual", "text")


class AlarmModel(BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """A detector of attacks that no label has described, with calibrated alarms.

    ::

        from pipeline import AlarmModel

        model = AlarmModel().fit(records)        # a DataFrame with labels, or fit(records, y)
        model.predict(new)                       # record_id, score, p_value, verdict
        model.explain(new)                       # why the strongest alerts are alerts
        model.save(folder)

        champion = AlarmModel.load("champion")   # of the registry; or a number, or a folder

    Records are a pandas frame, a row for each: flows under any published header of CICFlowMeter, or any other table.
    Columns that the model does not read are passed over. New records are read as files are: times are converted to
    microseconds, from the unit that the records show or that ``time_unit`` states, and the records are held against
    those that the model was fitted on. What differs is a ``ContractWarning``.

    Args:
        settings: dotted names of settings of ``params.yaml`` -> values, in place of those that are shipped; for
            instance ``{"stage2.detector": "maf"}``. By default the attacks that are named by ``preprocess.unseen`` are
            kept for tests, so that the model learns nothing of them; ``{"preprocess.unseen": []}`` gives it all.
        folder: an empty folder where ``fit`` works and leaves its files; None: a temporary one, which is removed.
        verbose: whether ``fit`` prints what the stages say.
        contract: what becomes of new records that are unlike those that the model was fitted on: ``warn`` decides on
            them all the same, ``refuse`` raises a ``SchemaError`` that names the columns.
        canaries: what becomes of a model that no longer finds what it found when it was made: ``refuse`` raises a
            ``SilentModelError``, ``warn`` logs it, ``off`` does not ask.

    Attributes:
        bundle_: the fitted model, from ``fit`` or ``load`` on.
    """

    bundle_: Bundle

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        folder: str | Path | None = None,
        verbose: bool = False,
        contract: Action = "warn",
        canaries: canary_check.Action = "refuse",
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.verbose = verbose
        self.contract = contract
        self.canaries = canaries

    @classmethod
    def load(
        cls,
        where: str | Path = "champion",
        device: str = "cpu",
        model: str = "",
        contract: Action = "warn",
        canaries: canary_check.Action = "refuse",
    ) -> Self:
        """A model that was trained before.

        Args:
            where: a folder that ``save`` wrote, or that of a model as MLflow stores it; else an alias or the number of
                a version in the registry of this project: ``champion``, ``candidate``, ``previous``.
            device: where it scores: ``cpu``, ``cuda`` or ``cuda:1``.
            model: its name in the registry; "": the one that ``tracking.model`` of the project's params.yaml gives.
            contract: ``warn`` or ``refuse``, as above.
            canaries: ``refuse``, ``warn`` or ``off``, as above.

        Raises:
            ArtifactError: there is none, or a byte of it has changed.
            SilentModelError: it no longer finds what it found when it was made.
        """
        made = cls(contract=contract, canaries=canaries)
        made.bundle_ = loading.anywhere(where, device, model)
        canary_check.require(made.bundle_, canaries, f"the model {where}")
        return made

    def fit(self, records: pd.DataFrame, y: ArrayLike | None = None) -> Self:
        """Train on labelled records, by the stages of the pipeline, in a process and a folder of their own.

        Args:
            records: n raw records. Benign ones set the thresholds; about a thousand give p99 a meaning. Without attacks
                among them, the model learns what benign records look like, and no more.
            y: (n,) ``BENIGN`` or the name of an attack, or 0 and 1; None: a column ``Label`` or ``label`` says it.

        Raises:
            ConfigError: a setting is unknown, of the wrong type or out of its limits; or the folder is not empty.
            DataError: records lack labels, or a column holds values of several kinds.
            TrainingError: a stage refuses what it was given, such as attacks alone; the message says why.
        """
        with TemporaryDirectory(prefix="flowsculpt.") as temporary:
            folder = Path(temporary if self.folder is None else self.folder).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise ConfigError(f"{folder}: is not empty; give a folder of its own, so that nothing is overwritten")
            project.write(folder, records, y, self.settings or {})
            self._train(folder)
            self.bundle_ = Bundle.of_project(folder / "data")
        return self

    def _train(self, folder: Path) -> None:
        """In a process of its own, which has a working folder and random numbers of its own."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
        command = [sys.executable, "-m", "pipeline.alarms.training"]
        said = None if self.verbose else subprocess.DEVNULL
        done = subprocess.run(command, cwd=folder, env=env, stdout=said, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            if done.returncode < 0:
                raise TrainingError(f"the training was killed by signal {-done.returncode}; 9 often means no memory")
            lines = done.stderr.strip().splitlines() or [f"the training ended with exit code {done.returncode}"]
            raise TrainingError(lines[-1])

    def predict(self, records: pd.DataFrame, time_unit: str = AUTO) -> pd.DataFrame:
        """Decide on n records.

        Args:
            records: n raw records.
            time_unit: of their times, ``us``, ``ms``, ``s`` or ``ns``; ``auto``: as the records show it.

        Returns:
            n rows with the index of the records: record_id (their column of that name, else their index), score
            (higher = more anomalous), p_value (the share of benign records that score as high) and verdict: benign,
            unknown or anomalous.

        Raises:
            ConfigError: there is no such unit.
            SchemaError: a column is missing, times are in several units, or the contract is broken and to be refused.
            DataError: a column holds what it should not.

        Warns:
            ContractWarning: the records are unlike those that the model was fitted on, or their unit is not known.
        """
        return _decided(records, self._fitted.predict(self._read(records, time_unit)))

    def decision_function(self, records: pd.DataFrame, time_unit: str = AUTO) -> NDArray[np.float64]:
        """(n,) scores: higher = more anomalous, as everywhere here. scikit-learn's outlier detectors have it reversed.

        Arguments, errors and warnings are those of ``predict``.
        """
        return self._fitted.predict(self._read(records, time_unit)).score

    def explain(
        self,
        records: pd.DataFrame,
        threshold: str | None = "p99",
        most: int | None = 10,
        top: int = 5,
        time_unit: str = AUTO,
    ) -> pd.DataFrame:
        """Say why the strongest alerts are alerts.

        Args:
            records: n raw records.
            threshold: what makes a record an alert, one of ``thresholds``; None: every record is explained.
            most: records that are explained at most, the strongest first; None: all of them.
            top: features that are named for each.
            time_unit: of the times of the records; see ``predict``.

        Returns:
            ``top`` rows for each record, fewer where it has fewer columns. Beside what ``predict`` says: driver, the
            score with the largest share in the fused one; kind, what the strongest reasons are about; family, the known
            attacks that it is most like; rank and name of a feature; its value in raw units; what similar benign
            records have there; fall, how far the score falls if the feature alone takes that value; share, which part
            of the surprise that is; usual, what 98 of 100 benign records have; and text, all of it in one sentence. The
            index is that of the records.

        Raises:
            ConfigError: there is no such threshold, or no such unit.
            SchemaError: a column is missing, times are in several units, or the contract is broken and to be refused.
            DataError: a column holds what it should not.
            ArtifactError: the model is an older one, which keeps no benign records.
        """
        read = self._read(records, time_unit)
        predicted = self._fitted.predict(read)
        rows = np.argsort(-predicted.score, kind="stable")
        if threshold is not None:
            rows = rows[self._flagged(predicted, threshold)[rows]]
        chosen = {name: values.take(pa.array(rows[:most])) for name, values in read.items()}
        found = Explainer(self.bundle_).explain(chosen, None, top, 0.0)
        decided = _decided(records, predicted).iloc[rows[:most]]
        about = pd.DataFrame([row for each in found for row in _why(each)], columns=[*WHY])
        at = np.repeat(np.arange(len(found)), [len(each.causes) for each in found])
        return pd.concat([decided.iloc[at], about.set_index(decided.index[at])], axis=1)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Name -> the score above which a record raises an alert; p99: about 1 % of benign records do.

        A frame does not tell what the hosts of its records did before. So where the model reads that too, these are the
        thresholds for records of which it is not known, as ``predict`` judges them.
        """
        return self._fitted.calibration.on_its_own.thresholds

    def save(self, folder: str | Path) -> None:
        """Store the model as a folder of JSON and safetensors, whole or not at all; ``load`` reads it.

        The folder holds up to 2,000 raw benign records and up to 50 of each known attack, for ``explain``. Whoever can
        read the model can read them.

        Raises:
            ArtifactError: it cannot be written.
        """
        self._fitted.save(Path(folder))

    @property
    def _fitted(self) -> Bundle:
        if not hasattr(self, "bundle_"):
            raise ArtifactError("this AlarmModel is not fitted; call fit, or AlarmModel.load")
        return self.bundle_

    def _read(self, records: pd.DataFrame, time_unit: str) -> Mapping[str, pa.Array]:
        """The records as the model reads them; what the caller should know of them is a warning."""
        canary_check.require(self._fitted, self.canaries)
        call = calls.read(records, self._fitted, time_unit, rules_of(self.contract))
        if call.sentences:
            warnings.warn(printable(" ".join(call.sentences)), ContractWarning, stacklevel=3)
        return call.records

    def _flagged(self, predicted: Prediction, threshold: str) -> NDArray[np.bool_]:
        if threshold not in predicted.flagged:
            known = ", ".join(predicted.flagged)
            raise ConfigError(
                f"threshold {threshold!r} is not known{near_miss(threshold, predicted.flagged)}; {known} are"
            )
        return predicted.flagged[threshold]


def _why(explained: Explained) -> list[tuple[Any, ...]]:
    """A row of ``WHY`` for each reason."""
    about = (explained.driver, explained.kind, explained.family)
    return [
        (
            *(*about, rank, cause.reason.feature),
            cause.reason.value if cause.reason.word is None else cause.reason.word,
            *(cause.similar, cause.fall, cause.reason.share, cause.reason.usual, cause.reason.text),
        )
        for rank, cause in enumerate(explained.causes, 1)
    ]


def _decided(records: pd.DataFrame, predicted: Prediction) -> pd.DataFrame:
    ids = records["record_id"] if "record_id" in records.columns else records.index
    said = {"score": predicted.score, "p_value": predicted.p_value, "verdict": predicted.verdict.astype(object)}
    return pd.DataFrame({"record_id": np.asarray(ids), **said}, index=records.index)
