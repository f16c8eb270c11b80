"""Data sets: raw files -> records with canonical columns."""

from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.nslkdd import FAMILIES, NSLKDD
from pipeline.datasets.schema import ATTACKS
from pipeline.datasets.synthetic import Synthetic
from pipeline.datasets.table import Table

DATASETS: dict[str, type[Dataset]] = {
    "cicids2017": CICIDS2017,
    "nslkdd": NSLKDD,
    "synthetic": Synthetic,
    "table": Table,
}
VOCABULARY = frozenset({*ATTACKS, *FAMILIES})  # attacks that some data set knows, ``benign`` among them

__all__ = ["CICIDS2017", "DATASETS", "NSLKDD", "VOCABULARY", "Chunk", "Dataset", "Synthetic", "Table"]
