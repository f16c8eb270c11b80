"""Data sets by name, as ``params.yaml`` spells it."""

from pipeline.datasets.base import Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.synthetic import Synthetic
from pipeline.datasets.table import Table

DATASETS: dict[str, type[Dataset]] = {
    "cicids2017": CICIDS2017,
    "nslkdd": NSLKDD,
    "pcap": Captures,
    "synthetic": Synthetic,
    "table": Table,
}
