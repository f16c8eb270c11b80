"""Thresholds at the corners of a histogram: where a peak ends and its tail begins."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.base import Analysis, Thresholds, finite
from pipeline.calibration.thresholds.knuth import FENCE, Histogram

Anchor = Literal["beyond", "inside"]


class Triangular:
    """Unimodal thresholding of a histogram with Knuth's bins, as in RADON.

    At the first update, one threshold right of the peak: ``low == high``. Later, when confidence-aware training has
    drawn the scores apart, the histogram is cut at its middle: ``low`` is right of the peak of the lower half, ``high``
    left of the peak of the upper half, and the scores between them are unknown. A corner's bin belongs to its peak.

    Sources: Rosin, "Unimodal thresholding" (Pattern Recognition 34, 2001); Najari, Berlemont, Lefebvre, Duffner,
    Garcia, "RADON: Robust Autoencoder for Unsupervised Anomaly Detection" (SIN 2021), mirrored, since a score is
    higher here where a record is more anomalous.

    SSAD 0.1.3 takes the distance on either side of the line, and the middle of the corner's bin as the threshold.

    Two deviations, both because scores need not lie in [0, 1] with two modes. Scores beyond ``fence`` are counted in
    the last bin on their side, and the first update does not take them for the peak. And where a half holds no peak
    with a corner of its own but the flank of the other half's, there is one mode: then ``low`` is right of its peak,
    and ``high`` there too or at the middle, whichever is higher. As published, ``high`` would cut a symmetric peak in
    two and call half of the records anomalous.

    Constant scores, or ones without a tail, are all benign.

    Args:
        fence: interquartile ranges beyond the quartiles that the histogram reaches at most; None: to the last score,
            as published.
        anchor: where the line from the peak ends if the last bin of the histogram has a score. ``beyond``: in the empty
            bin that would follow, as Rosin draws it. ``inside``: at height 0 in the last bin itself, as in SSAD 0.1.3,
            whose thresholds then lie a bin or two closer to the peak in some histograms.

    Raises:
        ValueError: if ``fence`` is not positive, or ``anchor`` unknown.
    """

    def __init__(self, fence: float | None = FENCE, anchor: Anchor = "beyond") -> None:
        if fence is not None and not fence > 0:
            raise ValueError(f"needs fence > 0 or none, given fence={fence}")
        if anchor not in get_args(Anchor):
            raise ValueError(f"anchor must be one of {', '.join(get_args(Anchor))}, not {anchor!r}")
        self.fence = fence
        self.anchor: Anchor = anchor

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """Thresholds at the corners of the histogram of ``scores``, (n,); one where there is no ``previous``.

        Raises:
            DataError: if a score is NaN, or none is finite.
            SplitError: if there are no scores.
        """
        histogram = self._histogram(scores)
        return _one(histogram, self.anchor) if previous is None else _two(histogram, self.anchor)

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """The histogram of ``scores``, (n,); errors as above."""
        return Analysis(self._histogram(scores).edges, np.empty((0, 2)))

    def __repr__(self) -> str:
        return f"Triangular(fence={self.fence}, anchor={self.anchor!r})"

    def _histogram(self, scores: ArrayLike) -> Histogram:
        return Histogram.fit(finite(scores, "triangular"), self.fence)


def corner(counts: NDArray[np.int64], anchor: Anchor = "beyond") -> int | None:
    """The bin right of the peak that lies furthest below the line from the peak to the first empty bin after the last.

    Source: Rosin 2001, section 2. The furthest bin is the same whether the distance is taken at right angles to the
    line or upright, so no unit for bins and counts has to be chosen.

    Args:
        counts: (k,) scores in each bin, at least one of them.
        anchor: as in ``Triangular``.

    Returns:
        Its position. Where no bin lies below the line: the last bin with a score if empty ones follow, else None,
        for the flank does not end here.
    """
    peak, last = int(counts.argmax()), int(np.flatnonzero(counts)[-1])
    end = last if anchor == "inside" and last + 1 == counts.size else last + 1
    base = end - peak  # in integers: (counts[peak] * (end - i) / base - counts[i]) * base
    gap = counts[peak] * np.arange(base, end - last - 1, -1) - counts[peak : last + 1] * base
    if gap.max() > 0:
        return peak + int(gap.argmax())
    return last if last + 1 < counts.size else None


def _one(histogram: Histogram, anchor: Anchor) -> Thresholds:
    at = corner(histogram.inside, anchor)
    cut = float(histogram.edges[-1] if at is None else histogram.edges[at + 1])
    return Thresholds(cut, cut)


def _two(histogram: Histogram, anchor: Anchor) -> Thresholds:
    counts, edges, bins = histogram.counts, histogram.edges, histogram.counts.size
    one = _one(histogram, anchor)
    if bins == 1:
        return one
    middle = (bins + 1) // 2
    left, right = corner(counts[:middle], anchor), corner(counts[middle:][::-1], anchor)
    if left is None or right is None:
        return Thresholds(one.low, max(one.high, float(edges[middle])))
    return Thresholds(float(edges[left + 1]), float(edges[bins - 1 - right]))
