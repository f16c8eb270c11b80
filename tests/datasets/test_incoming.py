"""Records to be scored: with a label or without, of any form, and never without a column that is needed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import SchemaError, SourceError, UnknownPluginError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.incoming import incoming
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.datasets.registry import DATASETS, READERS
from pipeline.datasets.schema import ENDPOINTS, FEATURES, GROUPABLE, Column
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.table import Table
from tests.datasets.sensors.logs import FIELDS, TLS, json_lines, tsv

NEEDED = tuple(column for column in FEATURES if column.name != "destination_port")


def read(path, dataset="cicids2017", needed=NEEDED):
    chunks = list(incoming(path, dataset, needed).read())
    return tuple(pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))


@pytest.fixture(scope="module")
def monday(tmp_path_factory):
    folder = tmp_path_factory.mktemp("week")
    write(folder, 600, seed=2)
    return next(path for path in folder.iterdir() if "Wednesday" in path.name)


@pytest.fixture
def edited(monday, tmp_path):
    def change(edit):
        lines = [line.split(",") for line in monday.read_text().splitlines()]
        path = tmp_path / monday.name
        path.write_text("".join(",".join(edit(i, cells)) + "\n" for i, cells in enumerate(lines)))
        return path

    return change


def test_a_labelled_file_gives_the_records_that_training_reads(monday):
    trained = pa.concat_tables([chunk.records for chunk in CICIDS2017(monday).read()])
    assert read(monday)[0].equals(trained)


@pytest.mark.parametrize("label", [None, "NeedManualLabel", "No Label", ""])
def test_a_file_without_labels_gives_the_same_features(monday, edited, label):
    path = edited(lambda i, cells: cells[:-1] if label is None else [*cells[:-1], label] if i else cells)
    records, rejected = read(path)
    with_labels, _ = read(monday)
    features = [column.name for column in FEATURES]
    assert records.select(features).equals(with_labels.select(features))
    assert rejected.num_rows == 0
    assert set(records["attack"].to_pylist()) == {"unlabelled"}
    assert records["y"].null_count == records.num_rows
    assert len(set(records["record_id"].to_pylist())) == records.num_rows


def test_training_still_insists_on_labels(edited):
    with pytest.raises(SchemaError, match="'Label' is missing"):
        list(CICIDS2017(edited(lambda i, cells: cells[:-1])).read())


def test_blank_and_broken_rows_are_kept_apart(edited):
    def spoil(i, cells):
        return [""] * len(cells) if i == 2 else ["x", *cells[1:]] if i == 4 else cells

    path = edited(lambda i, cells: spoil(i, cells)[:-1])
    records, rejected = read(path)
    assert rejected["row"].to_pylist() == [2, 4]
    assert rejected["reason"].to_pylist() == ["blank row", "'x' is not a number"]
    assert not {2, 4} & set(records["row"].to_pylist())


def test_a_column_that_no_model_needs_may_be_absent(edited):
    records, _ = read(edited(lambda i, cells: cells[1:]))
    assert "destination_port" not in records.column_names


def test_a_missing_column_is_named_with_what_it_may_be(edited):
    path = edited(lambda i, cells: [cell.replace("Flow Duration", "Flow Duratoin") for cell in cells])
    with pytest.raises(SchemaError, match=r"'Flow Duration' is missing \(did you mean 'Flow Duratoin'\?\)"):
        _ = incoming(path, "cicids2017", NEEDED).columns


def test_connections_without_a_label(tmp_path):
    cells = ",".join(["0", "tcp", "http", "SF", *["1"] * 37])
    (tmp_path / "with.txt").write_text(f"{cells},neptune,21\n{cells},what,21\n")
    (tmp_path / "without.csv").write_text(f"{cells}\n{cells}\n")
    needed = NSLKDD(tmp_path).columns
    for name, attacks in (("with.txt", ["neptune", "unlabelled"]), ("without.csv", ["unlabelled"] * 2)):
        records, _ = read(tmp_path / name, "nslkdd", needed)
        assert records["attack"].to_pylist() == attacks
        assert records["service"].to_pylist() == ["http", "http"]


TABLE = (Column("size"), Column("colour", categorical=True))


@pytest.mark.parametrize(
    "text", ["colour,Size,note\nred,1,a\nblue,2.5,b\n", "size,colour,label\n1,red,9\n2.5,blue,x\n"]
)
def test_a_table_is_read_by_the_columns_that_are_needed(tmp_path, text):
    (tmp_path / "new.csv").write_text(text)
    records, _ = read(tmp_path / "new.csv", "table", TABLE)
    assert records["size"].to_pylist() == [1, 2.5]
    assert records["colour"].to_pylist() == ["red", "blue"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise,colour\n1,red\n", r"'size' is missing \(did you mean 'sise'\?\)"),
        ("size,colour\nbig,red\nsmall,red\n", "'size' holds text, such as 'big'; the model expects numbers"),
        ("size,Size,colour\n1,1,red\n", "two columns mean 'size'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, said):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(SchemaError, match=said):
        _ = incoming(tmp_path / "new.csv", "table", TABLE).columns


def test_stored_records_keep_who_they_are(tmp_path, monday):
    records = pa.concat_tables([chunk.records for chunk in CICIDS2017(monday).read()])
    pq.write_table(records, tmp_path / "records.parquet")
    again, _ = read(tmp_path / "records.parquet")
    assert again["record_id"].equals(records["record_id"])
    names = ["record_id", "source_file", "row", *GROUPABLE, *ENDPOINTS, "attack", *(column.name for column in NEEDED)]
    assert again.column_names == list(dict.fromkeys(names))
    pq.write_table(records.drop_columns(["idle_min", "record_id"]), tmp_path / "less.parquet")
    with pytest.raises(SchemaError, match="'idle_min' is missing"):
        _ = incoming(tmp_path / "less.parquet", "cicids2017", NEEDED).columns
    pq.write_table(records.drop_columns(["idle_min"]), tmp_path / "less.parquet")
    with pytest.raises(SchemaError, match="'idle_min' is missing"):
        _ = incoming(tmp_path / "less.parquet", "cicids2017", NEEDED).columns


def test_parquet_of_canonical_columns_alone_will_do(tmp_path):
    pq.write_table(pa.table({"size": [1, 2], "colour": ["red", None]}), tmp_path / "new.parquet")
    records, _ = read(tmp_path / "new.parquet", "cicids2017", TABLE)
    assert records["size"].to_pylist() == [1, 2]
    assert records["colour"].to_pylist() == ["red", ""]


def test_a_broken_parquet_and_an_unknown_data_set_are_refused(tmp_path):
    (tmp_path / "new.parquet").write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        incoming(tmp_path / "new.parquet", "cicids2017", NEEDED)
    with pytest.raises(UnknownPluginError, match="did you mean 'table'"):
        incoming(tmp_path / "new.csv", "tabel", NEEDED)


def test_stored_records_whose_damage_looks_like_another_encoding_are_refused(monday, tmp_path, monkeypatch):
    records = pa.concat_tables([chunk.records for chunk in CICIDS2017(monday).read()])
    pq.write_table(records, tmp_path / "records.parquet")
    dataset = incoming(tmp_path / "records.parquet", "cicids2017", NEEDED)

    def damaged(*_, **__):
        raise pa.ArrowNotImplementedError("Unsupported encoding")  # what some flipped bits lead to

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", damaged)
    with pytest.raises(SourceError, match=r"cannot be read as Parquet \(Unsupported encoding\); fetch the file again"):
        list(dataset.read())


def test_every_reader_takes_what_is_needed():
    for reader in {*READERS.values()} - {Table}:
        assert reader(path="x", needed=()) is not None


NFSTREAM = {
    "id": 0, "src_ip": "10.0.0.1", "src_port": 5000, "dst_ip": "10.0.0.2", "dst_port": 80, "protocol": 6,
    "bidirectional_first_seen_ms": 1, "bidirectional_duration_ms": 5, "src2dst_duration_ms": 5,
    "dst2src_duration_ms": 5, "src2dst_packets": 1, "src2dst_bytes": 60, "dst2src_packets": 1, "dst2src_bytes": 60,
}  # fmt: skip
EVENT = {"event_type": "flow", "proto": "TCP", "dest_port": 80, "flow": {"pkts_toserver": 1, "age": 1}}
TRUTHS = ("fine", "worm", "-")


def labelled(path, dataset, **label):
    """A file of three connections, of which one is benign, one is an attack, and of one nothing is known."""
    (name,) = label
    made = {"zeek": TLS, "suricata": EVENT, "nfstream": NFSTREAM, "table": {"a": 1.5}}[dataset]
    rows = [{**made, name: truth} for truth in label[name]]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".log":
        tsv(path, rows, (*FIELDS, name))
    elif path.suffix == ".json":
        json_lines(path, rows)
    else:
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in ([*rows[0]], *(r.values() for r in rows))))
    return path


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("zeek", "conn.log"), ("zeek", "conn.json"), ("suricata", "eve.json"), ("nfstream", "flows.csv"),
        ("table", "a.csv"), ("table", "a.parquet"),
    ],
)  # fmt: skip
def test_labels_of_a_file_are_read_as_those_of_training_were(tmp_path, dataset, file):
    path = labelled(tmp_path / file, dataset, truth=TRUTHS)
    trained = DATASETS[dataset](path, label="truth", benign=("fine",))
    chunks = list(incoming(path, dataset, trained.columns, labels=trained.label_settings).read())
    records = pa.concat_tables([chunk.records for chunk in chunks])
    assert records["attack"].to_pylist() == ["benign", "worm", "unlabelled"]
    assert records["y"].to_pylist() == [0, 1, None]
    settings = json.loads(json.dumps(trained.label_settings))
    assert incoming(path, dataset, trained.columns, labels=settings).label_settings == trained.label_settings


def test_words_that_mean_benign_are_those_of_training(monday, edited):
    path = edited(lambda i, cells: [*cells[:-1], "Usual" if cells[-1] == "BENIGN" else cells[-1]])
    settings = CICIDS2017(monday, benign_labels=("usual",)).label_settings
    chunks = list(incoming(path, "cicids2017", NEEDED, labels=settings).read())
    attacks = pa.concat_tables([chunk.records for chunk in chunks])["attack"].to_pylist()
    assert attacks == read(monday)[0]["attack"].to_pylist()
    assert "benign" in attacks


def test_stored_records_keep_their_labels(monday, tmp_path):
    records = pa.concat_tables([chunk.records for chunk in CICIDS2017(monday).read()])
    pq.write_table(records, tmp_path / "records.parquet")
    assert read(tmp_path / "records.parquet")[0]["attack"].to_pylist() == records["attack"].to_pylist()
