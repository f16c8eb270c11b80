"""Nominal against realised benign FPR of conformal thresholds, and what a shift of the traffic does to them.

    python -m benchmarks.conformal [--draws 20000] [--shift 0.5]

Calibration scores are drawn from a Gaussian, ``--draws`` times; the FPR of a threshold over all benign records is then
known, and needs no test set. For each nominal FPR, number of calibration records and guarantee: its mean over the
draws, the 95 % interval that ``conformal.interval`` says beforehand and the share of the draws inside it, the share of
the draws above nominal (marginal: about half; pac: 5 % at most), and the mean FPR once all benign scores have moved up
by ``--shift`` standard deviations, against which no threshold holds.
"""

import argparse

import numpy as np
from scipy.special import ndtr

from pipeline.base.errors import SplitError
from pipeline.calibration.thresholds.conformal import Guarantee, interval

RISKS = (0.001, 0.01, 0.05)
RECORDS = (200, 1000, 5000)
GUARANTEES = (Guarantee("marginal"), Guarantee("pac", 0.95))


def row(n: int, risk: float, guarantee: Guarantee, draws: int, shift: float) -> str:
    """One line of the table; what is needed where n records are too few."""
    head = f"| {n:,} | {100 * risk:g} % | {guarantee.kind} |"
    try:
        low, high = interval(n, risk, 0.95, guarantee)
    except SplitError:
        needed = f"needs {guarantee.records_needed(risk):,} records"
        return f"{head} {needed}; {n:,} support {100 * guarantee.smallest_risk(n):.2g} % | | | | |"
    random = np.random.default_rng([n, round(1e4 * risk)])
    threshold = np.array([guarantee.threshold(random.normal(size=n), risk) for _ in range(draws)])
    fpr, moved = ndtr(-threshold), ndtr(shift - threshold)
    inside = ((low <= fpr) & (fpr <= high)).mean()
    return (
        f"{head} {100 * fpr.mean():.3f} % | {100 * low:.3f} to {100 * high:.3f} % | {100 * inside:.1f} % | "
        f"{100 * (fpr > risk).mean():.1f} % | {100 * moved.mean():.2f} % |"
    )


def main() -> None:
    """Print it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20000)
    parser.add_argument("--shift", type=float, default=0.5)
    given = parser.parse_args()
    print(f"| n | nominal | guarantee | realised | 95 % interval | inside | above nominal | after {given.shift:g} sd |")
    print("|---:|---:|---|---:|---:|---:|---:|---:|")
    for n in RECORDS:
        for risk in RISKS:
            for guarantee in GUARANTEES:
                print(row(n, risk, guarantee, given.draws, given.shift))


if __name__ == "__main__":
    main()
