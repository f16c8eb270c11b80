"""A file of one tool is not scored by a model that was trained on another one's."""

import bz2
import gzip
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets.families.known import families
from pipeline.datasets.incoming import incoming
from pipeline.datasets.recognise import dataset_of, kind_of
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.schema import Column
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.synthetic.zeek_logs import write_logs
from tests.datasets.sensors.logs import SCAN, TLS, header, json_lines, tsv
from tests.datasets.sensors.test_nfstream import PLAIN
from tests.datasets.sensors.test_nfstream import write as write_flows
from tests.datasets.sensors.test_suricata import ALERT, FLOW
from tests.datasets.wire import ethernet, ipv4, pcap, udp

SIZE = (Column("size"),)


@pytest.fixture
def files(tmp_path):
    """One file of each tool."""
    capture = tmp_path / "some.pcap"
    capture.write_bytes(pcap([(1, ethernet(ipv4("10.0.0.1", "10.0.0.2", 17, udp(1024, 53, b"?"))))]))
    with gzip.open(tmp_path / "conn.log.gz", "wb") as file:
        file.write(tsv(tmp_path / "conn.log", [TLS]).read_bytes())
    return {
        "zeek": tmp_path / "conn.log.gz",
        "suricata": json_lines(tmp_path / "eve.json", [ALERT, FLOW]),
        "nfstream": write_flows(tmp_path / "flows.csv", PLAIN),
        "cicids2017": write(tmp_path / "week", 600, seed=0)[0],
        "pcap": capture,
    }


def test_each_file_is_known_by_its_first_lines(files, tmp_path):
    assert {name: kind_of(path) for name, path in files.items()} == {name: name for name in files}
    assert kind_of(json_lines(tmp_path / "conn.json", [SCAN])) == "zeek"


@pytest.mark.parametrize("packing", [gzip, bz2, lzma])
def test_packing_hides_no_tool(files, tmp_path, packing):
    for name, path in files.items():
        suffix = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[packing]
        content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
        packed = tmp_path / f"{name}.dat{suffix}"
        packed.write_bytes(packing.compress(content))
        assert kind_of(packed) == name


def test_a_zip_and_typed_files_are_known(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(files["suricata"], "sensor/eve.json")
    assert kind_of(tmp_path / "all.zip") == "suricata"
    (family,) = (each for each in families() if each.name == "parquet_copies")
    pq.write_table(pa.table({header: [1] for header in family.headers}), tmp_path / "flows.parquet")
    assert kind_of(tmp_path / "flows.parquet") == "cicids2017"


@pytest.mark.parametrize("name", [family.name for family in families() if len(family.headers) > 60])
def test_a_table_of_flows_is_known_by_the_names_of_each_family(tmp_path, name):
    (family,) = (each for each in families() if each.name == name)
    path = tmp_path / "some.csv"
    path.write_text(f"{';'.join(family.headers)}\n{';'.join('1' for _ in family.headers)}\n")
    assert kind_of(path) == "cicids2017"


def test_connections_of_nsl_kdd_are_known_without_a_header(tmp_path):
    row = ["0", "tcp", "http", "SF", *("0" for _ in range(37)), "normal", "21"]
    (tmp_path / "KDDTrain+.txt").write_text(",".join(row) + "\n")
    assert kind_of(tmp_path / "KDDTrain+.txt") == "nslkdd"


def test_the_records_of_a_folder_have_one_tool(tmp_path):
    tsv(tmp_path / "conn.log", [TLS])
    (tmp_path / "dns.log").write_text(header(path="dns"))
    (tmp_path / "README.txt").write_text("what lies here\n")
    assert dataset_of(tmp_path) == "zeek"
    json_lines(tmp_path / "eve.json", [ALERT, FLOW])
    with pytest.raises(SourceError, match=r"an eve\.json of Suricata \(eve\.json\), a conn\.log of Zeek \(conn\.log\)"):
        dataset_of(tmp_path)


def test_records_that_ingest_stored_may_be_of_any_tool(files, tmp_path):
    chunk = next(iter(DATASETS["pcap"](files["pcap"]).read()))
    pq.write_table(chunk.records, tmp_path / "records.parquet")
    assert kind_of(tmp_path / "records.parquet") == ""


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "{", '{"a": 1}\n', "[1]\n"])
def test_what_tells_nothing_is_left_to_its_reader(tmp_path, text):
    (tmp_path / "some.csv").write_text(text)
    assert kind_of(tmp_path / "some.csv") == ""


@pytest.mark.parametrize(
    ("given", "trained"),
    [("zeek", "cicids2017"), ("zeek", "synthetic"), ("cicids2017", "zeek"), ("suricata", "zeek"), ("pcap", "nfstream")],
)
def test_both_are_named_where_they_differ(files, given, trained):
    with pytest.raises(SchemaError) as caught:
        incoming(files[given], trained, SIZE)
    for part in (files[given].name, f"trained on {given!r}", f"trained on {trained!r}"):
        assert part in str(caught.value)


def test_the_same_tool_is_read_and_a_table_may_come_from_anywhere(files):
    for name, path in files.items():
        assert incoming(path, name, SIZE)
        assert incoming(path, "table", SIZE)
    assert incoming(files["cicids2017"], "synthetic", SIZE)


def test_a_log_to_be_scored_gives_the_records_that_training_reads(tmp_path):
    (path,) = write_logs(tmp_path, 50, 1, 0)
    dataset = DATASETS["zeek"](path)
    trained, scored = (
        pa.concat_tables([chunk.records for chunk in each.read()])
        for each in (dataset, incoming(path, "zeek", dataset.columns))
    )
    assert trained.equals(scored)
