"""Records -> features and splits."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, Count, Names, Positive, Section, Seed, Shape, Share, ShareBelowOne

Fill = Literal["zero", "median", "indicator"]
Scaling = Literal["none", "standard", "signed_log", "unit", "quantile"]
Encoding = Literal["one_hot", "count"]


@dataclass(frozen=True)
class Shares(Shape):
    """Shares of the benign records for each split.

    Attributes:
        train: share that models are fitted on.
        val: share that chooses the epoch.
        calibration: share that sets the thresholds.
        test_seen: share that stands beside the attacks that models were trained on.
        test_unseen: share that stands beside the unseen attacks.

    Raises:
        ValueError: they do not sum to 1, or leave a split empty that later stages need.
    """

    train: Share
    val: Share
    calibration: Share
    test_seen: Share
    test_unseen: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        total = sum(asdict(self).values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}, allowed is 1")
        if not self.train or not self.val or not self.calibration:
            raise ValueError("train, val and calibration need a share above 0")


@dataclass(frozen=True)
class RecipeSettings(Shape):
    """How features are made of raw columns; fixed before any row is seen.

    Attributes:
        drop: raw columns that no model may see.
        derive: derived features to add: names in ``DERIVED``, or in ``GROUPS`` of them.
        fill: replaces Infinity and NaN: by 0 (as published), by the median of the train rows, or by 0 with an extra
            indicator column.
        drop_constant: whether to drop columns that do not vary in the train rows.
        scaling: ``standard``, as published; ``signed_log``: sign(x) log(1 + |x|), then standard; ``unit``: the same
            logarithm, then to [0, 1] by the train rows; ``quantile``: the train distribution is mapped to a standard
            normal one.
        clip: largest absolute value of a scaled feature; None for no limit.
        categorical: encodes words. ``one_hot``: an unscaled column of 0 and 1 for each word of the train rows.
            ``count``: log(1 + n), where n train rows have the word, standardised unless the scaling is ``none``. A word
            that is not in the train rows gives 0 in every column, or n = 0.
        rarity: numeric ID columns, such as ports, to frequency-encode over the rows that the scaler is fitted on; they
            may also be in ``drop``. See ``pipeline.preprocessing.frequency``. Records that differ in such a column
            alone still count as duplicates.
    """

    drop: Names
    derive: Names
    fill: Fill
    drop_constant: bool
    scaling: Scaling
    clip: Positive | None
    categorical: Encoding
    rarity: Names


@dataclass(frozen=True)
class FeatureSettings(RecipeSettings):
    """The recipe, and the rows that its scales come from: all ``train`` rows or the ``benign`` ones among them."""

    fit_on: Literal["train", "benign"]


@dataclass(frozen=True)
class ContextSettings(Shape):
    """The recent past of the hosts of a record, a score beside the others; see ``pipeline.preprocessing.context``.

    Attributes:
        use: ``auto``: where records have times and addresses, and the splits follow time. In splits that are drawn,
            a training record would see the past without the test records in it, and a test record all of it.
        windows: lengths in seconds, of which a longer one must follow a shorter one.
        remembered: past records that are looked back on, of all hosts together.

    Raises:
        ValueError: the windows do not grow.
    """

    use: Literal["auto", "never"]
    windows: Annotated[tuple[Positive, ...], Bounds(min_length=1)]
    remembered: Annotated[int, Bounds(ge=1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(later <= earlier for earlier, later in pairwise(self.windows)):
            raise ValueError(f"windows must grow, given {', '.join(map(str, self.windows))}")


@dataclass(frozen=True)
class DoubtSettings(Shape):
    """Doubt in benign records that may be hidden attacks.

    Models are not fitted on a doubted record, or learn to push it away. But it sets thresholds as any other record
    does, so that the promised share of alarms still holds over all records.

    Attributes:
        use: ``unlabelled``: where records lack labels. ``always``: records that are labelled benign are doubted, too.
        neighbours: how many records a record is compared with.
        max_share: of the records; if more of them would be doubted, none is.
    """

    use: Literal["unlabelled", "always", "never"]
    neighbours: Count
    max_share: Share


@dataclass(frozen=True)
class SweepSettings(DoubtSettings):
    """Doubt in benign records whose like go to a port each; see ``pipeline.preprocessing.sweeps``.

    Attributes:
        share: of the ports of its neighbours; a record is doubted where at least so many are different ones.
    """

    share: Annotated[float, Bounds(gt=0, le=1)]


@dataclass(frozen=True)
class WitnessSettings(DoubtSettings):
    """Doubt in benign records whose like occur at one time only; see ``pipeline.preprocessing.witnesses``.

    Attributes:
        ratio: how many times as far away as at its own time the company of a doubted record is at other times.
        apart: share of the time from the first record to the last that lies between two records at different times.
    """

    ratio: Annotated[float, Bounds(ge=1)]
    apart: ShareBelowOne


@dataclass(frozen=True)
class Contamination(Shape):
    """Attacks that are hidden among the benign train rows; see ``pipeline.preprocessing.contamination.contaminate``.

    Attributes:
        share: of the train rows labelled benign that are hidden attacks.
        attacks: which ones, in their proportion; none named means any seen one.
        seed: of the draw.
    """

    share: ShareBelowOne
    attacks: Names
    seed: Seed


@dataclass(frozen=True)
class Preprocess(Section):
    """Which records go where, and what becomes of their columns.

    Attributes:
        seed: of the splits.
        unseen: attacks that occur in the split test_unseen only.
        test_days: weekdays of the capture whose benign records are test records; none means as the shares say.
        split: ``random`` draws the splits; ``time`` lets models learn from earlier records and tests them on later
            ones; ``auto`` follows time where no attack is seen and every record has a timestamp.
    """

    section: ClassVar[str] = "preprocess"
    seed: Seed
    unseen: Names
    test_days: Names
    split: Literal["auto", "random", "time"]
    attempted: Literal["exclude", "benign", "attack"]
    duplicates: Literal["group", "drop", "keep"]
    balance: Literal["asymmetric", "none"]
    contamination: Contamination
    shares: Shares
    features: FeatureSettings
    context: ContextSettings
    sweeps: SweepSettings
    witnesses: WitnessSettings
