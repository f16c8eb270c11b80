"""What a stage writes for people: figures, tables and numbers, under the names that users of SSAD know."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_bytes, write_csv, write_json
from pipeline.base.escaping import printable
from pipeline.base.samples import Samples
from pipeline.evaluation import metrics
from pipeline.reporting import confidence_table
from pipeline.reporting.figures.style import svg
from pipeline.tracking import StageRun

PERCENTILES: Final = (99.9, 99.0, 97.0, 95.0)  # the levels that stages before calibrate report at
LEVELS: Final = {f"p{percent:g}": round(1 - percent / 100, 6) for percent in PERCENTILES}  # name -> share above


class Report:
    """The reports of one stage.

    Attributes:
        folder: where they are written.
        run: the MLflow run of the stage.
    """

    def __init__(self, folder: Path, run: StageRun) -> None:
        self.folder = folder
        self.run = run

    @property
    def subtitle(self) -> str:
        """Where the data come from, for every figure; synthetic data are called so."""
        source = read_json(paths.SOURCE)
        kind = "synthetic records" if source["synthetic"] else f"records of {source['dataset']}"
        return f"{source['records']:,} {kind}"

    def hand_over(self, other: "Report") -> None:
        """Move all files into the folder of another report, and remove this one's."""
        if self.folder.is_dir():
            for file in self.folder.iterdir():
                shutil.move(file, other.folder / file.name)
            self.folder.rmdir()

    def say(self, text: str) -> None:
        """One line for whoever watches."""
        print(printable(text), flush=True)

    def figure(self, name: str, figure: Figure) -> None:
        """``name.svg``."""
        write_bytes(self.folder / f"{name}.svg", svg(figure))

    def html(self, name: str, page: str) -> None:
        """``name.html``."""
        write_bytes(self.folder / f"{name}.html", page.encode())

    def json(self, name: str, value: Any) -> None:
        """``name.json``."""
        write_json(self.folder / f"{name}.json", value)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """``name.csv``."""
        write_csv(self.folder / f"{name}.csv", rows)

    def initial_confidence(self, record_id: NDArray[np.uint64], values: NDArray[np.float32]) -> None:
        """``confidence_epoch_0.csv``: what the labels say, before any training."""
        self.confidence_table(0, {"record_id": record_id, "confidence": values})

    def test_metrics(
        self, y: NDArray[np.int8], flagged: NDArray[np.bool_], threshold: float, name: str = "", **beside: Any
    ) -> None:
        """``test_metrics_threshold={t}.json``, and the rates as metrics.

        Args:
            y: (n,) labels, 1 for an attack.
            flagged: (n,) mask of the records above the threshold.
            threshold: its value.
            name: of the threshold, such as p99.
            beside: what else the file tells.
        """
        values = metrics.test_metrics(y, flagged, threshold)
        self.json(f"test_metrics_threshold={name or f'{threshold:g}'}", {**values, **beside})
        rates = {key: values[key] for key in ("precision", "recall", "f1", "FPR")}
        self.run.metrics({f"{name or 'published'}.{key.lower()}": v for key, v in rates.items() if v is not None})

    def shares(self, name: str, limit: float, counts: Mapping[str, tuple[int, int]]) -> None:
        """``test_metrics_threshold={name}.json`` of shares of records against a limit, and the shares as metrics.

        Args:
            name: of the limit.
            limit: the largest share.
            counts: what is counted -> how many it is, of how many.
        """
        stated = {what: _share(k, n) | {"within": k <= limit * n} for what, (k, n) in counts.items()}
        self.json(f"test_metrics_threshold={name}", {"threshold": limit, **stated})
        self.run.metrics({f"{name}.{what}": share["share"] for what, share in stated.items() if share["n"]})

    def reads(self, name: str, samples: Samples) -> None:
        """Name ``samples`` as an input of the run."""
        digest = f"{int(np.bitwise_xor.reduce(samples.record_id)):016x}"
        self.run.dataset(name, str(paths.DATA), digest, len(samples), dict.fromkeys(samples.columns, "float"), name)

    def confidence_table(self, epoch: int, columns: Mapping[str, NDArray[Any] | pa.Array]) -> None:
        """``confidence_epoch_{n}.csv``: record_id, confidence, and what else is known of each; see ``tables``."""
        confidence_table.write(self.folder, epoch, columns)

    def confidence_parts(self, epoch: int, parts: Iterable[pa.Table]) -> None:
        """The same from tables of one schema, of which one is in memory at a time."""
        confidence_table.write_parts(self.folder, epoch, parts)


def shares(counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """What share of all records each count is, with Wilson's 95 % interval."""
    total = sum(counts.values())
    return {what: _share(k, total) for what, k in counts.items()}


def _share(k: int, n: int) -> dict[str, Any]:
    low, high = metrics.wilson(k, n)
    return {"k": k, "n": n, "share": k / n if n else None, "low": low, "high": high}
