"""Data sets: raw files -> records with canonical columns."""

from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.synthetic import Synthetic

DATASETS: dict[str, type[Dataset]] = {"cicids2017": CICIDS2017, "synthetic": Synthetic}

__all__ = ["CICIDS2017", "DATASETS", "Chunk", "Dataset", "Synthetic"]
