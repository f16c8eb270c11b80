"""The scores that thresholds are fitted on, and how they become one."""

import numpy as np

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import table_metadata
from pipeline.base.errors import ConfigError, SplitError
from pipeline.base.samples import ATTACKS, Samples
from pipeline.calibration.cross_conformal import OUT_OF_FOLD, worst_factor
from pipeline.settings.calibrate import Calibrate


def benign_scores(settings: Calibrate) -> tuple[Samples, float]:
    """The benign records whose scores the thresholds are drawn from, and how often a level may be exceeded at worst.

    Raises:
        ConfigError: in-sample scores are asked for where levels are promised.
        SplitError: there are none.
    """
    if settings.drawn_from == "train" and settings.fusion != "cascade":
        raise ConfigError(
            f"calibrate.drawn_from: 'train', but calibrate.fusion {settings.fusion!r} promises how many benign records "
            "raise an alarm, which scores of training records cannot tell; choose fusion cascade, which promises "
            "nothing, or drawn_from calibration"
        )
    if settings.drawn_from == "calibration" and (paths.SCORES / f"{OUT_OF_FOLD}.parquet").exists():
        samples = read_samples(paths.SCORES, OUT_OF_FOLD)
        worst = worst_factor(samples.x[:, -1].astype(np.int64)) if len(samples) else 1.0
        samples = samples.without_last_column()
    else:
        samples, worst = read_samples(paths.SCORES, settings.drawn_from), 1.0
    benign = samples.select(samples.benign)
    if not len(benign):
        raise SplitError(
            f"there are no benign {settings.drawn_from} records; raise preprocess.shares.{settings.drawn_from}"
        )
    return benign, worst


def fusion_of(settings: Calibrate) -> str:
    """The fusion that is asked for; ``beside`` in place of ``fisher`` where the train records have few attacks."""
    if settings.fusion != "fisher" or not settings.few_attacks:
        return settings.fusion
    attacks = int(table_metadata(paths.SCORES / "train.parquet")[ATTACKS])
    return "beside" if 0 < attacks < settings.few_attacks else settings.fusion
