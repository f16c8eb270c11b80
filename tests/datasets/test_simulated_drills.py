"""Simulated attacks come as records of each kind of data set: the same packets, as its tool summarises them."""

import pytest

from pipeline.datasets.schema import FEATURES
from pipeline.datasets.sensors.nfstream import NFStream
from pipeline.datasets.sensors.suricata import Suricata
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.synthetic.drills import KINDS, simulated
from pipeline.serving import record_columns

PLAIN = (
    "service",
    "service_kind",
    "duration",
    "fwd_duration",
    "bwd_duration",
    "fwd_packets",
    "fwd_bytes",
    "bwd_packets",
    "bwd_bytes",
)
NFSTREAM = tuple(column for column in NFStream.schema.columns if column.name in PLAIN)
SETS = [
    ("synthetic", FEATURES, True),
    ("cicids2017", FEATURES, True),
    ("cicids2017", FEATURES, False),
    ("pcap", FEATURES, False),
    ("zeek", Zeek.schema.columns, False),
    ("suricata", Suricata.schema.columns, False),
    ("nfstream", NFSTREAM, False),
]


@pytest.mark.parametrize(("dataset", "columns", "twice"), SETS)
def test_each_kind_has_the_columns_that_models_read(dataset, columns, twice):
    made = simulated(dataset, columns, twice, {}, 70, 0)
    assert tuple(made) == KINDS
    for table in made.values():
        assert 0 < record_columns.table(columns, table).num_rows <= 5


def test_the_same_seed_gives_the_same_attacks():
    first, again, other = (simulated("zeek", Zeek.schema.columns, False, {}, 70, seed) for seed in (0, 0, 1))
    assert first["bot"]["fwd_ip_bytes"].to_pylist() == again["bot"]["fwd_ip_bytes"].to_pylist()
    assert first["bot"]["fwd_ip_bytes"].to_pylist() != other["bot"]["fwd_ip_bytes"].to_pylist()


def test_sensors_agree_on_the_packets_of_an_attack():
    made = [simulated(*each, {}, 140, 0) for each in SETS[4:]]
    for kind in KINDS:
        counts = [sorted(table[kind]["fwd_packets"].to_pylist()) for table in made]
        assert counts[0] == counts[1] == counts[2], kind


def test_what_cannot_be_computed_from_packets_is_not_simulated():
    assert simulated("table", FEATURES[:3], False, {}, 70, 0) == {}
    assert simulated("nslkdd", FEATURES[:3], False, {}, 70, 0) == {}
    assert simulated("nfstream", NFStream.schema.columns, False, {}, 70, 0) == {}  # statistics of packets
    assert simulated("zeek", Zeek.schema.columns, False, {}, 0, 0) == {}
