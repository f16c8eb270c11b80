"""Data sets by name, as ``params.yaml`` spells it."""

from collections.abc import Callable

from pipeline.datasets.base import Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.sensors.nfstream import NFStream
from pipeline.datasets.sensors.suricata import Suricata
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.synthetic import Synthetic
from pipeline.datasets.table import Table

DATASETS: dict[str, type[Dataset]] = {
    "cicids2017": CICIDS2017,
    "nfstream": NFStream,
    "nslkdd": NSLKDD,
    "pcap": Captures,
    "suricata": Suricata,
    "synthetic": Synthetic,
    "table": Table,
    "zeek": Zeek,
}
WRITTEN_AS = {"synthetic": "cicids2017"}  # a data set that is made -> the one whose format its files have
# Of files that come in.
READERS: dict[str, Callable[..., Dataset]] = {name: DATASETS[WRITTEN_AS.get(name, name)] for name in DATASETS}
