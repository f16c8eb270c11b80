"""How many false incidents benign traffic raises, how many attacks are found, and how long it takes.

::

    python -m benchmarks.incidents detect --seeds 5 6 7 8 9 --quiet 9 --keep /tmp/weeks
    python -m benchmarks.incidents speed

``detect`` is about simulated captures, packet by packet. For each seed a model with the shipped settings is trained on
a benign week of another seed, without labels. It then judges a week with 14 attacks and ``--quiet`` benign weeks, a day
for each file, as ``flowsculpt score`` does. ``--keep`` names a folder in which judged weeks are kept for the next time.
An incident counts if it is ``medium`` or worse. It is false if most of its alerts are benign. An attack is found if an
incident that is not false has an alert of it. In a further line the bots of the week call home by the clock.

Beside it stand simpler rules: each alert for itself, and a source that has so many alerts without a gap of an hour. The
constants of ``evidence`` were chosen on the seeds 0 to 4 and 200 to 203. ``choose`` shows what others give there.

``speed`` reads 100,000 stored alerts among a million stored records, and groups them, as ``flowsculpt incidents`` does.
It then takes the alerts of one endless scan, 100 at a time, as a scorer does that never stops.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock

import numpy as np

from benchmarks.incident_rules import Outcome, Rule, alone, counted, grouped
from benchmarks.incident_speed import speed, stream
from benchmarks.incident_weeks import LEVELS, weeks
from pipeline import config
from pipeline.alarms.project import SHIPPED
from pipeline.serving.alerts import evidence
from pipeline.settings.alerts import Alerts, IncidentRules


def detect(seeds: Sequence[int], quiet: int, keep: Path, rules: IncidentRules) -> Iterator[str]:
    """A line for each rule, and one for each attack."""
    compared: dict[str, Rule] = {"incidents, as shipped": grouped(rules)}
    compared |= {f"each alert at {level}": alone(level) for level in LEVELS}
    compared |= {f"{n} alerts of a source at {level}": counted(level, n) for level in LEVELS for n in (2, 3, 5, 10)}
    found: dict[str, list[Outcome]] = {name: [] for name in compared}
    spent, records = 0.0, 0
    for seed in seeds:
        for each in found.values():
            each.append(Outcome())
        for week in weeks(seed, quiet, keep):
            records += len(week.attack)
            for name, rule in compared.items():
                before = time.process_time()
                groups = rule(week)
                spent += (time.process_time() - before) * (name == "incidents, as shipped")
                found[name][-1].add(week, groups)
    yield "| rule | benign records | false incidents | per million | each seed | attacks found | each seed |"
    yield "|---|---|---|---|---|---|---|"
    for name, outcomes in found.items():
        yield _line(name, outcomes)
    yield "\n| attack | weeks | found | lines of an attack that was found |\n|---|---|---|---|"
    yield from _attacks(found["incidents, as shipped"])
    yield f"\n{records:,} records in {spent:.1f} CPU-seconds: {records / spent:,.0f} in a second"


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    benign, false = (sum(getattr(each, what) for each in outcomes) for what in ("benign", "false"))
    rates = ", ".join(f"{each.rate:,.0f}" for each in outcomes)
    shares = ", ".join(f"{each.share:.2f}" for each in outcomes)
    share = np.mean([each.share for each in outcomes])
    return f"| {name} | {benign:,} | {false:,} | {1e6 * false / benign:,.1f} | {rates} | {share:.3f} | {shares} |"


def _attacks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    there, found, lines = (
        sum((getattr(each, what) for each in outcomes), Counter()) for what in ("there", "found", "lines")
    )
    for name in sorted(there):
        yield f"| {name} | {there[name]} | {found[name]} | {lines[name] / max(1, found[name]):.1f} |"


CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "as shipped": {"UNIT": evidence.UNIT},
    "no allowance for odd hosts": {"PRIOR": dict.fromkeys(evidence.PRIOR, (10**9, 10**9))},
    "hosts and pairs alike": {"PRIOR": dict.fromkeys(evidence.PRIOR, (10, 5))},
    "equal shares of the views": {"SHARES": dict.fromkeys(evidence.SHARES, 1 / 3)},
    "flows of a connection count fully": {"REPEATED": 1.0},
    "further flows of a connection count nothing": {"REPEATED": 0.0},
    "p99 alone": {"LEVELS": ((0.01, 0.5),)},
    "p99 and p99.9": {"LEVELS": ((0.01, 0.3), (0.001, 0.2))},
    "p95, p99 and p99.9": {"LEVELS": ((0.05, 0.4), (0.01, 0.2), (0.001, 0.1))},
}


def choose(seeds: Sequence[int], quiet: int, keep: Path, rules: IncidentRules) -> Iterator[str]:
    """A line for each choice of constants."""
    yield "| constants | benign records | false incidents | per million | each seed | attacks found | each seed |"
    yield "|---|---|---|---|---|---|---|"
    for name, constants in CHOICES.items():
        outcomes = []
        with mock.patch.multiple(evidence, **constants):
            for seed in seeds:
                outcomes.append(Outcome())
                for week in weeks(seed, quiet, keep):
                    outcomes[-1].add(week, grouped(rules)(week))
        yield _line(name, outcomes)


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "choose", "speed"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8, 9])
    parser.add_argument("--quiet", type=int, default=9, help="benign weeks of each seed, beside the one with attacks")
    parser.add_argument("--keep", type=Path, help="folder that judged weeks are kept in")
    given = parser.parse_args()
    rules = config.load(Alerts, SHIPPED).incidents
    if given.what == "speed":
        print(speed(100_000, 1_000_000, rules), stream(rules), sep="\n")
        return
    with TemporaryDirectory() as work:
        keep = given.keep or Path(work)
        keep.mkdir(parents=True, exist_ok=True)
        print("\n".join({"detect": detect, "choose": choose}[given.what](given.seeds, given.quiet, keep, rules)))


if __name__ == "__main__":
    main()
