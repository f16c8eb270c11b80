"""One table says how files end, and one which data sets there are: every reader and door looks at these."""

from pipeline.datasets import unpacking
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.registry import DATASETS, READERS, WRITTEN_AS
from pipeline.datasets.sensors.suricata import Suricata
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.suffixes import ARRAYS, INCOMING, PACKINGS, READ_BY
from pipeline.datasets.units import FLOWS


def test_each_data_set_has_a_reader_and_suffixes():
    assert {*READ_BY} == {*READERS} == {*DATASETS}
    assert {name: READERS[name] for name in DATASETS if name not in WRITTEN_AS} == {
        name: reader for name, reader in DATASETS.items() if name not in WRITTEN_AS
    }
    assert (Zeek.suffixes, Suricata.suffixes) == (READ_BY["zeek"], READ_BY["suricata"])


def test_whatever_a_data_set_reads_may_come_in_but_for_arrays():
    assert {suffix for read in READ_BY.values() for suffix in read} - {ARRAYS} <= {*INCOMING}


def test_each_packing_is_opened():
    assert {*PACKINGS} == {*unpacking.OPENERS}


def test_data_sets_of_flows_are_those_whose_files_have_the_columns_of_flows():
    assert {name for name, reader in READERS.items() if issubclass(reader, CICIDS2017 | Captures)} == FLOWS
