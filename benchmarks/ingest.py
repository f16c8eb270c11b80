"""Ingest and preprocess against the notebook's way: wall time and peak memory, side by side.

    python -m benchmarks.ingest FOLDER [--records N] [--rounds K]

FOLDER holds CSV files in the format of CIC-IDS-2017, plain or gzip'd. Their rows are repeated until there are ``N``
records, as plain CSV in a temporary folder. Each side runs in a process of its own and the sides take turns; of ``K``
rounds the least seconds and the largest peak count. The seconds of the first two sides are those of the work alone,
those of ``stages`` of two whole processes.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
UNSEEN = ["Bot", "Infiltration", "DoS slowloris", "DoS Slowhttptest"]


def tile(folder: Path, records: int, target: Path) -> int:
    """Write the files of ``folder`` as plain CSV, each with its rows repeated; returns how many records there are."""
    texts = {file.name.removesuffix(".gz"): _text(file) for file in sorted(folder.iterdir()) if ".csv" in file.name}
    rows = sum(text.count(b"\n") - 1 for text in texts.values())
    copies = -(-records // rows)
    for name, text in texts.items():
        header, body = text.split(b"\n", 1)
        (target / name).write_bytes(header + b"\n" + body * copies)
    return rows * copies


def _text(file: Path) -> bytes:
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        return stream.read()


def notebook(folder: Path) -> Callable[[], None]:
    """Everything in memory, as the notebook of Chhetri, Thapa, Chen, "Latent Sculpting" (2025) does it."""
    import numpy as np
    import pandas as pd
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    def work() -> None:
        frame = pd.concat([pd.read_csv(file, low_memory=False) for file in sorted(folder.iterdir())], ignore_index=True)
        frame.columns = frame.columns.str.strip()
        label = frame["Label"].str.strip()
        frame = frame.drop(columns=["Label", "Destination Port"])
        frame = frame.apply(pd.to_numeric, errors="coerce")
        packets = frame["Total Fwd Packets"]
        frame["bytes_per_packet"] = frame["Total Length of Fwd Packets"] / (packets + 1e-6)
        frame["packets_per_second"] = packets / (frame["Flow Duration"] / 1e6 + 1e-6)
        frame = frame.replace([np.inf, -np.inf], np.nan).fillna(0)
        frame = frame.loc[:, frame.nunique() > 1]
        is_benign, is_unseen = label == "BENIGN", label.isin(UNSEEN)
        benign_seen, benign_unseen = train_test_split(frame[is_benign], test_size=0.2, random_state=42)
        seen = pd.concat([benign_seen, frame[~is_benign & ~is_unseen]])
        unseen = pd.concat([benign_unseen, frame[is_unseen]])
        train, test = train_test_split(seen, test_size=0.2, stratify=label[seen.index], random_state=42)
        scaler = StandardScaler().fit(train)
        scaled = [scaler.transform(part).astype(np.float32) for part in (train, test, unseen)]
        targets = [(label[part.index] != "BENIGN").to_numpy(dtype=np.int64) for part in (train, test, unseen)]
        assert sum(map(len, scaled)) == sum(map(len, targets)) == len(frame)

    return work


def flowsculpt(folder: Path) -> Callable[[], None]:
    """The functions of the two stages with every table that they write, but without figures and MLflow."""
    from pipeline import config
    from pipeline.settings.ingest import Ingest
    from pipeline.settings.preprocess import Preprocess
    from pipeline.stages.ingest import ingest
    from pipeline.stages.preprocess import preprocess
    from pipeline.stages.reports.report import Report

    class NoFigures(Report):
        def figure(self, name: str, figure: object) -> None: ...

    for stage, name in (("ingest", "class_counts"), ("preprocess", "draw_splits"), ("preprocess", "feature_spread")):
        setattr(sys.modules[f"pipeline.stages.{stage}"], name, lambda *_, **__: None)

    def work() -> None:
        report = NoFigures(Path("data/reports"), _NoRun())  # type: ignore[arg-type]
        ingest(config.load(Ingest), report)
        preprocess(config.load(Preprocess), report)

    _settings(folder)
    return work


def stages(folder: Path) -> Callable[[], None]:
    """The two stages as DVC starts them: interpreter, imports, figures and MLflow included."""
    _settings(folder)

    def work() -> None:
        for stage in ("ingest", "preprocess"):
            subprocess.run([sys.executable, "-m", f"pipeline.stages.{stage}"], check=True, stdout=sys.stderr)

    return work


class _NoRun:
    """Takes what a stage tells its MLflow run, and keeps nothing."""

    def metrics(self, *_: Any) -> None: ...

    def dataset(self, *_: Any) -> None: ...


def _settings(folder: Path) -> None:
    import yaml

    from flows.runtime import presets

    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"] |= {"dataset": "cicids2017", "path": str(folder)}
    published = presets.read("latent_sculpting", ROOT / "presets")
    features = {key.rpartition(".")[2]: value for key, value in published.items() if ".features." in key}
    params["preprocess"]["features"] |= features  # what the notebook makes of the records
    Path("params.yaml").write_text(yaml.safe_dump(params))


SIDES = {"notebook": notebook, "flowsculpt": flowsculpt, "stages": stages}


def _measure_here(side: str, folder: Path) -> None:
    """In a process of its own: work, then print seconds and the peak of resident memory."""
    work = SIDES[side](folder)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "peak_mib": peak / 1024}))


def _measure(side: str, folder: Path, store: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as working:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{store}"}
        command = [sys.executable, "-m", "benchmarks.ingest", str(folder), "--side", side]
        done = subprocess.run(command, cwd=working, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Tile, let the sides take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _measure_here(arguments.side, arguments.folder)
    else:
        _table(_measurements(arguments))


def _measurements(arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Side -> what each of its runs took."""
    with tempfile.TemporaryDirectory(prefix="bench-tiles-") as name:
        tiles = Path(name) / "tiles"
        tiles.mkdir()
        rows = tile(arguments.folder, arguments.records, tiles)
        size = sum(file.stat().st_size for file in tiles.iterdir()) / 1e6
        cores = len(os.sched_getaffinity(0))
        print(f"{rows:,} records, {size:.0f} MB of CSV, {cores} cores; {arguments.rounds} rounds")
        found: dict[str, list[dict[str, float]]] = {side: [] for side in arguments.sides}
        for _ in range(arguments.rounds):
            for side in arguments.sides:
                found[side].append(_measure(side, tiles, Path(name) / "mlflow.db"))
                print(side, found[side][-1], file=sys.stderr)
        return found


def _table(found: dict[str, list[dict[str, float]]]) -> None:
    best = {
        side: {"seconds": min(run["seconds"] for run in runs), "peak_mib": max(run["peak_mib"] for run in runs)}
        for side, runs in found.items()
    }
    base = next(iter(best.values()))
    print("| side | wall s | ratio | peak MiB | ratio |\n|---|---:|---:|---:|---:|")
    for side, one in best.items():
        ratios = [one[key] / base[key] for key in ("seconds", "peak_mib")]
        print(f"| {side} | {one['seconds']:.1f} | {ratios[0]:.2f} | {one['peak_mib']:.0f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
