"""NSL-KDD and KDD Cup 1999: 41 features without a header, and attacks by their published names and groups."""

import gzip
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.datasets.base import record_schema
from pipeline.datasets.nslkdd import COLUMNS, NSLKDD
from pipeline.datasets.schema import ATTACKS
from pipeline.datasets.vocabulary import FAMILIES

REAL = Path(__file__).parents[3] / "shared" / "data" / "nslkdd"


def line(attack="normal", service="http", src_bytes="491", difficulty=",20"):
    return f"0,tcp,{service},SF,{src_bytes}," + ",".join(["0"] * 36) + f",{attack}{difficulty}"


def text(*lines):
    return "".join(f"{each}\n" for each in lines).encode()


def read(path, **settings):
    chunks = list(NSLKDD(path, **settings).read())
    return tuple(pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))


def test_a_row_becomes_a_record(tmp_path):
    (tmp_path / "KDDTest+.txt").write_bytes(text(line("guess_passwd", service="ftp_data"), line()))
    records, rejected = read(tmp_path)
    assert rejected.num_rows == 0
    assert records.schema == record_schema(COLUMNS)
    first, second = records.to_pylist()
    assert (first["attack"], first["family"], first["y"], first["row"]) == ("guess_passwd", "r2l", 1, 1)
    assert (first["protocol_type"], first["service"], first["flag"]) == ("tcp", "ftp_data", "SF")
    assert (first["duration"], first["src_bytes"], first["source_file"]) == (0.0, 491.0, "KDDTest+.txt")
    assert (second["attack"], second["family"], second["y"], second["row"]) == ("benign", "benign", 0, 2)


def test_the_41_features_are_those_of_the_publication():
    assert len(COLUMNS) == 41
    assert [column.name for column in COLUMNS if column.categorical] == ["protocol_type", "service", "flag"]
    assert [column.name for column in COLUMNS][-1] == "dst_host_srv_rerror_rate"


def test_an_attack_that_two_data_sets_know_is_of_one_family():
    assert Counter(FAMILIES.values()) == {"benign": 1, "dos": 11, "probe": 6, "r2l": 15, "u2r": 7}
    assert all(ATTACKS[attack][0] == family for attack, family in FAMILIES.items() if attack in ATTACKS)


def test_the_packing_does_not_change_the_records(tmp_path):
    content = {"KDDTrain+.txt": text(line(), line("neptune")), "KDDTest+.txt": text(line("smurf"))}
    for folder in ("plain", "packed", "zipped"):
        (tmp_path / folder).mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "NSL-KDD.zip", "w") as archive:
        for name, lines in content.items():
            (tmp_path / "plain" / name).write_bytes(lines)
            (tmp_path / "packed" / f"{name}.gz").write_bytes(gzip.compress(lines))
            archive.writestr(f"NSL-KDD/{name}", lines)
    plain, packed, zipped = (read(tmp_path / folder)[0] for folder in ("plain", "packed", "zipped"))
    assert plain.equals(packed)
    assert plain.equals(zipped)
    assert plain["source_file"].to_pylist() == ["KDDTest+.txt", "KDDTrain+.txt", "KDDTrain+.txt"]


def test_what_is_published_beside_the_records_is_passed_over(tmp_path):
    for name in ("KDDTrain+.txt", "KDDTrain+_20Percent.txt", "README.txt", "KDDTrain+.arff"):
        (tmp_path / name).write_bytes(text(line(service=name[:-4])))
    assert read(tmp_path)[0]["source_file"].to_pylist() == ["KDDTrain+.txt"]
    assert read(tmp_path / "KDDTrain+_20Percent.txt")[0].num_rows == 1


def test_a_file_without_the_difficulty_is_read_too(tmp_path):
    (tmp_path / "kddcup.txt").write_bytes(text(line("normal.", difficulty=""), line("snmpguess.", difficulty="")))
    assert read(tmp_path)[0]["attack"].to_pylist() == ["benign", "snmpguess"]


# KDD Cup 1999 under the names that it is published by.

KDD99_TRAIN = [
    *("normal", "back", "buffer_overflow", "ftp_write", "guess_passwd", "imap", "ipsweep", "land", "loadmodule"),
    *("multihop", "neptune", "nmap", "perl", "phf", "pod", "portsweep", "rootkit", "satan", "smurf", "spy"),
    *("teardrop", "warezclient", "warezmaster"),
]
KDD99_TEST_ONLY = [
    *("apache2", "httptunnel", "mailbomb", "mscan", "named", "processtable", "ps", "saint", "sendmail"),
    *("snmpgetattack", "snmpguess", "sqlattack", "udpstorm", "worm", "xlock", "xsnoop", "xterm"),
]


def kdd99(*attacks, **settings):
    return text(*(line(f"{attack}.", difficulty="", **settings) for attack in attacks))


@pytest.mark.parametrize("packing", ["", ".gz", ".zip"])
@pytest.mark.parametrize(
    "name", ["kddcup.data", "kddcup.data_10_percent", "kddcup.data_10_percent_corrected", "corrected"]
)
def test_kdd_99_is_read_under_its_published_names(tmp_path, name, packing):
    path, content = tmp_path / f"{name}{packing}", kdd99("normal", "snmpguess", "smurf")
    if packing == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
    else:
        path.write_bytes(gzip.compress(content) if packing else content)
    for where in (path, tmp_path):
        records, rejected = read(where)
        assert (records["attack"].to_pylist(), rejected.num_rows) == (["benign", "snmpguess", "smurf"], 0)
        assert records["source_file"].to_pylist() == [name] * 3


def test_every_attack_of_kdd_99_is_known(tmp_path):
    (tmp_path / "kddcup.data_10_percent.gz").write_bytes(gzip.compress(kdd99(*KDD99_TRAIN)))
    (tmp_path / "corrected.gz").write_bytes(gzip.compress(kdd99(*KDD99_TRAIN, *KDD99_TEST_ONLY)))
    attacks = Counter(read(tmp_path)[0]["attack"].to_pylist())
    assert {name for name, count in attacks.items() if count == 1} == {*KDD99_TEST_ONLY}
    assert set(attacks) == set(FAMILIES)


def test_a_tenth_of_kdd_99_is_passed_over_where_all_of_it_lies_beside(tmp_path):
    (tmp_path / "kddcup.data.gz").write_bytes(gzip.compress(kdd99("normal", "smurf")))
    (tmp_path / "kddcup.data_10_percent_corrected").write_bytes(kdd99("smurf"))
    (tmp_path / "corrected").write_bytes(kdd99("worm"))
    for beside in ("kddcup.names", "kddcup.testdata.unlabeled.gz", "training_attack_types", "uncorrected.gz"):
        (tmp_path / beside).write_bytes(b"back,buffer_overflow\n")
    assert read(tmp_path)[0]["source_file"].to_pylist() == ["corrected", "kddcup.data", "kddcup.data"]


def test_both_releases_at_once_are_refused(tmp_path):
    (tmp_path / "KDDTrain+.txt").write_bytes(text(line()))
    (tmp_path / "corrected.gz").write_bytes(gzip.compress(kdd99("normal")))
    with pytest.raises(SourceError, match=r"corrected\.gz is of KDD Cup 1999, KDDTrain\+\.txt of NSL-KDD"):
        read(tmp_path)


def test_an_unreadable_row_is_kept_with_its_reason(tmp_path):
    broken = line(src_bytes="many")
    (tmp_path / "KDDTrain+.txt").write_bytes(text(line(), broken, "0,tcp", line("neptune")))
    records, rejected = read(tmp_path)
    assert records["row"].to_pylist() == [1, 4]
    assert [(row["row"], row["column"], row["reason"], row["text"]) for row in rejected.to_pylist()] == [
        (2, "src_bytes", "'many' is not a number", broken),
        (3, "", "2 fields where the header has 43", "0,tcp"),
    ]


def test_an_unknown_attack_is_refused_or_kept(tmp_path):
    (tmp_path / "KDDTrain+.txt").write_bytes(text(line(), line("neptun")))
    message = r"row 2, column 'label': unknown label 'neptun' \(did you mean 'neptune'\?\); .* ingest\.nslkdd\.unknown"
    with pytest.raises(DataError, match=message):
        read(tmp_path)
    assert read(tmp_path, unknown_labels="keep")[0]["family"].to_pylist() == ["benign", "neptun"]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", SourceError, "KDDTrain.*: has no records"),
        (b"1,2,3\n", SchemaError, r"row 1 has 3 fields, NSL-KDD has 43 .* set ingest\.path"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content, error, message):
    (tmp_path / "KDDTrain+.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        read(tmp_path)


def test_a_folder_without_a_file_of_it_is_refused(tmp_path):
    (tmp_path / "Monday.csv").write_bytes(text(line()))
    with pytest.raises(
        SourceError,
        match=r"holds no .* whose name begins with kdd, and none of kddcup\.data, .* corrected; set ingest\.path",
    ):
        read(tmp_path)


@pytest.mark.real
def test_the_published_files():
    if not REAL.is_dir():
        pytest.skip(f"the real records are absent: {REAL}")
    records, rejected = read(REAL)
    assert rejected.num_rows == 0
    files = Counter(records["source_file"].to_pylist())
    assert files == {"KDDTrain+.txt": 125_973, "KDDTest+.txt": 22_544}
    attacks = Counter(records["attack"].to_pylist())
    assert {name: attacks[name] for name in ("benign", "neptune", "guess_passwd")} == {
        "benign": 67_343 + 9_711,
        "neptune": 41_214 + 4_657,
        "guess_passwd": 53 + 1_231,
    }
    assert set(attacks) == set(FAMILIES)
    assert len(records["record_id"].unique()) == records.num_rows
    words = {column.name: len(records[column.name].unique()) for column in COLUMNS if column.categorical}
    assert words == {"protocol_type": 3, "service": 70, "flag": 11}
