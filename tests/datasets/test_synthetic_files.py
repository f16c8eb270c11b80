"""The synthetic files: the published format with its quirks, the same for the same seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.datasets.synthetic import Synthetic, files
from pipeline.datasets.synthetic.__main__ import main
from pipeline.datasets.synthetic.files import counts, write

RECORDS = 6_000
NAMES = [*FEATURE_NAMES, "label"]

ATTACKS = {
    *("ftp_patator", "ssh_patator", "ddos", "port_scan", "dos_hulk", "dos_goldeneye", "dos_slowloris"),
    *("dos_slowhttptest", "heartbleed", "bot", "infiltration", "web_brute_force", "web_xss", "web_sql_injection"),
}

# The first line of the published files, character for character.
PUBLISHED_HEADER = (
    b" Destination Port, Flow Duration, Total Fwd Packets, Total Backward Packets,Total Length of Fwd Packets, Total "
    b"Length of Bwd Packets, Fwd Packet Length Max, Fwd Packet Length Min, Fwd Packet Length Mean, Fwd Packet Length "
    b"Std,Bwd Packet Length Max, Bwd Packet Length Min, Bwd Packet Length Mean, Bwd Packet Length Std,Flow Bytes/s, "
    b"Flow Packets/s, Flow IAT Mean, Flow IAT Std, Flow IAT Max, Flow IAT Min,Fwd IAT Total, Fwd IAT Mean, Fwd IAT "
    b"Std, Fwd IAT Max, Fwd IAT Min,Bwd IAT Total, Bwd IAT Mean, Bwd IAT Std, Bwd IAT Max, Bwd IAT Min,Fwd PSH Flags, "
    b"Bwd PSH Flags, Fwd URG Flags, Bwd URG Flags, Fwd Header Length, Bwd Header Length,Fwd Packets/s, Bwd Packets/s, "
    b"Min Packet Length, Max Packet Length, Packet Length Mean, Packet Length Std, Packet Length Variance,FIN Flag "
    b"Count, SYN Flag Count, RST Flag Count, PSH Flag Count, ACK Flag Count, URG Flag Count, CWE Flag Count, ECE Flag "
    b"Count, Down/Up Ratio, Average Packet Size, Avg Fwd Segment Size, Avg Bwd Segment Size, Fwd Header Length,Fwd "
    b"Avg Bytes/Bulk, Fwd Avg Packets/Bulk, Fwd Avg Bulk Rate, Bwd Avg Bytes/Bulk, Bwd Avg Packets/Bulk,Bwd Avg Bulk "
    b"Rate,Subflow Fwd Packets, Subflow Fwd Bytes, Subflow Bwd Packets, Subflow Bwd Bytes,Init_Win_bytes_forward, "
    b"Init_Win_bytes_backward, act_data_pkt_fwd, min_seg_size_forward,Active Mean, Active Std, Active Max, Active Min,"
    b"Idle Mean, Idle Std, Idle Max, Idle Min, Label"
)
LABELS = {
    "Monday-WorkingHours.pcap_ISCX.csv": set(),
    "Tuesday-WorkingHours.pcap_ISCX.csv": {"FTP-Patator", "SSH-Patator"},
    "Wednesday-workingHours.pcap_ISCX.csv": {
        "DoS slowloris",
        "DoS Slowhttptest",
        "DoS Hulk",
        "DoS GoldenEye",
        "Heartbleed",
    },
    "Thursday-WorkingHours-Morning-WebAttacks.pcap_ISCX.csv": {
        "Web Attack \ufffd Brute Force",
        "Web Attack \ufffd XSS",
        "Web Attack \ufffd Sql Injection",
    },
    "Thursday-WorkingHours-Afternoon-Infilteration.pcap_ISCX.csv": {"Infiltration"},
    "Friday-WorkingHours-Morning.pcap_ISCX.csv": {"Bot"},
    "Friday-WorkingHours-Afternoon-PortScan.pcap_ISCX.csv": {"PortScan"},
    "Friday-WorkingHours-Afternoon-DDos.pcap_ISCX.csv": {"DDoS"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "made" / "here"
    assert [path.name for path in write(folder, RECORDS, 7)] == list(LABELS)
    return folder


@pytest.fixture(scope="module")
def days(folder):
    return {name: pd.read_csv(folder / name, header=0, names=NAMES) for name in LABELS}


@pytest.fixture(scope="module")
def records(days):
    return pd.concat(days.values(), ignore_index=True)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    write(tmp_path / "again", RECORDS, 7)
    write(tmp_path / "other", RECORDS, 8)
    for name in LABELS:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_the_header_is_the_published_one(folder):
    for name in LABELS:
        content = (folder / name).read_bytes()
        assert content.split(b"\n", 1)[0] == PUBLISHED_HEADER
        assert content.endswith(b"\n")
        assert {line.count(b",") for line in content.splitlines()} == {78}
    assert PUBLISHED_HEADER.count(b"Fwd Header Length") == 2


def test_nothing_else_is_left_in_the_folder(folder):
    assert {path.name for path in folder.iterdir()} == set(LABELS)


def test_attacks_stand_in_the_file_of_their_day(days):
    for name, expected in LABELS.items():
        assert set(days[name].label) == expected | {"BENIGN"}


@pytest.mark.parametrize("total", [500, 3_000, 50_000])
def test_counts_make_up_the_whole(total):
    given = counts(total)
    assert sum(given.values()) == total
    assert min(given.values()) >= 5
    assert set(given) == ATTACKS | {"benign", "infiltration_port_scan"}


def test_shares_are_plausible_at_full_size():
    given = counts(50_000)
    benign = given["benign"] + given["infiltration_port_scan"]
    assert 0.75 <= benign / 50_000 <= 0.8
    assert given["infiltration_port_scan"] / benign == pytest.approx(0.027, abs=0.001)
    assert min(given["heartbleed"], given["infiltration"], given["web_sql_injection"]) >= 11


@pytest.mark.parametrize(("total", "seed"), [(500, 0), (3_000, 1)])
def test_as_many_records_as_asked_for(tmp_path, total, seed):
    labels = Counter()
    for path in write(tmp_path, total, seed):
        labels.update(pd.read_csv(path, header=0, names=NAMES).label)
    given = counts(total)
    assert labels.total() == total
    assert labels["BENIGN"] == given["benign"] + given["infiltration_port_scan"]
    assert labels["DoS slowloris"] == given["dos_slowloris"]


def test_rows_follow_the_clock(days):
    tuesday = days["Tuesday-WorkingHours.pcap_ISCX.csv"].label
    assert tuesday[tuesday == "FTP-Patator"].index.max() < tuesday[tuesday == "SSH-Patator"].index.min()
    wednesday = days["Wednesday-workingHours.pcap_ISCX.csv"].label
    assert wednesday[wednesday == "DoS Hulk"].index.min() > 0.05 * len(wednesday)


def test_rates_without_a_duration_are_written_as_java_writes_them(folder):
    text = "".join((folder / name).read_text(encoding="utf-8") for name in LABELS)
    assert ",Infinity," in text
    assert ",NaN," in text
    assert not {"inf", "nan", "Inf", "-Infinity", ""} & set(text.replace("\n", ",").split(",")[:-1])


def test_undefined_rates_are_those_without_a_duration(records):
    still = records.flow_duration == 0
    assert still.any()
    assert (~np.isfinite(records.flow_bytes_per_s) == still).all()
    assert np.isposinf(records.flow_packets_per_s[still]).all()
    assert (records.fwd_packets_per_s[still] == 0).all()


def test_windows_never_seen_are_minus_one(records):
    assert 0.3 < (records.init_win_bytes_fwd == -1).mean() < 0.6
    never_answered = (records.total_bwd_packets == 0) & (records.init_win_bytes_fwd >= 0)
    assert never_answered.any()
    assert (records.init_win_bytes_bwd[never_answered] == -1).all()


def test_some_records_stand_there_twice_and_some_with_two_labels(records):
    assert records.duplicated().mean() > 0.01
    labels = records.groupby(list(FEATURE_NAMES), dropna=False).label.agg(set)
    disputed = labels[labels.map(len) > 1]
    assert sum("BENIGN" in given for given in disputed) >= 5


def test_some_scans_pass_for_benign_on_the_day_of_the_infiltration(days):
    def probes(day):  # one SYN, one reset
        return ((day.psh_flag_count == 1) & (day.init_win_bytes_bwd == 0) & (day.total_bwd_packets == 1)).to_numpy()

    thursday = days["Thursday-WorkingHours-Afternoon-Infilteration.pcap_ISCX.csv"]
    monday = days["Monday-WorkingHours.pcap_ISCX.csv"]
    assert (probes(thursday) & (thursday.label == "BENIGN")).mean() > 0.1
    assert probes(monday).mean() < 0.02


def test_identities_between_features(records):
    r = records
    packets, seconds = r.total_fwd_packets + r.total_bwd_packets, r.flow_duration / 1e6
    moving = r.flow_duration > 0
    equal = {
        "fwd mean": (r.fwd_packet_length_mean * r.total_fwd_packets, r.total_length_fwd_packets),
        "bwd mean": (r.bwd_packet_length_mean * r.total_bwd_packets, r.total_length_bwd_packets),
        "variance": (r.packet_length_std**2, r.packet_length_variance),
        "size": (r.packet_size_mean * packets, r.packet_length_mean * (packets + 1)),
        "iat": (r.flow_iat_mean * (packets - 1), r.flow_duration),
        "fwd iat": (r.fwd_iat_mean * (r.total_fwd_packets - 1), r.fwd_iat_total),
        "bwd iat": (r.bwd_iat_mean * (r.total_bwd_packets - 1).clip(0), r.bwd_iat_total),
        "bytes/s": (
            (r.flow_bytes_per_s * seconds)[moving],
            (r.total_length_fwd_packets + r.total_length_bwd_packets)[moving],
        ),
        "packets/s": ((r.flow_packets_per_s * seconds)[moving], packets[moving]),
        "both ways": ((r.fwd_packets_per_s + r.bwd_packets_per_s)[moving], r.flow_packets_per_s[moving]),
        "ratio": (r.down_up_ratio, r.total_bwd_packets // r.total_fwd_packets),
        "max": (r.packet_length_max, r[["fwd_packet_length_max", "bwd_packet_length_max"]].max(axis=1)),
        "header": (r.fwd_header_length, r.fwd_header_length_repeated),
        "fwd segment": (r.fwd_segment_size_mean, r.fwd_packet_length_mean),
        "bwd segment": (r.bwd_segment_size_mean, r.bwd_packet_length_mean),
        "subflow fwd": (r.subflow_fwd_packets, r.total_fwd_packets),
        "subflow fwd bytes": (r.subflow_fwd_bytes, r.total_length_fwd_packets),
        "subflow bwd": (r.subflow_bwd_packets, r.total_bwd_packets),
        "subflow bwd bytes": (r.subflow_bwd_bytes, r.total_length_bwd_packets),
        "psh": (r.fwd_psh_flags, r.syn_flag_count),
        "urg": (r.fwd_urg_flags, r.cwr_flag_count),
    }
    for name, (left, right) in equal.items():
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-6, err_msg=name)
    assert (r.filter(like="_bulk_") == 0).all(axis=None)


def test_orders_between_features(records):
    r = records
    for name in (
        "fwd_packet_length",
        "bwd_packet_length",
        "packet_length",
        "flow_iat",
        "fwd_iat",
        "bwd_iat",
        "active",
        "idle",
    ):
        slack = 1e-9 * r[f"{name}_max"]
        assert (r[f"{name}_min"] <= r[f"{name}_mean"] + slack).all()
        assert (r[f"{name}_mean"] <= r[f"{name}_max"] + slack).all()
    assert (r.fwd_data_packets < r.total_fwd_packets).all()
    assert (r.flow_duration <= 120_000_000).all()
    assert (r.idle_max <= r.flow_iat_max).all()
    assert (r.idle_min[r.idle_max > 0] > 5_000_000).all()
    assert (r.idle_max[r.flow_iat_max <= 5_000_000] == 0).all()
    assert r.drop(columns=["label", "init_win_bytes_fwd", "init_win_bytes_bwd"]).fillna(0).ge(0).all(axis=None)


def test_neither_trivial_nor_noise(records):
    x = records[list(FEATURE_NAMES)].drop(columns="destination_port").replace([np.inf, np.nan], 0)
    y = (records.label != "BENIGN").to_numpy()
    best = max(one_rule(x[name].to_numpy(), y) for name in x)
    assert best < 0.85
    train = np.arange(len(y)) % 2 == 0
    tree = DecisionTreeClassifier(min_samples_leaf=5, random_state=0).fit(x[train], y[train])
    found = tree.predict(x[~train])
    assert (found[y[~train]].mean() + (~found[~y[~train]]).mean()) / 2 > best + 0.1


def one_rule(values, y):
    """Balanced accuracy of the best threshold on one feature, in the better direction."""
    order = np.argsort(values, kind="stable")
    cut = np.append(np.diff(values[order]) > 0, True)
    attacks, benign = np.cumsum(y[order]) / y.sum(), np.cumsum(~y[order]) / (~y).sum()
    return 0.5 + np.abs(attacks - benign)[cut].max() / 2


@pytest.mark.parametrize(("total", "seed", "word"), [(499, 0, "500"), (1_000, -1, "seed")])
def test_what_cannot_be_made_is_refused(tmp_path, total, seed, word):
    with pytest.raises(ConfigError, match=word):
        write(tmp_path, total, seed)


def test_the_data_set_reads_back_what_was_written(records):
    chunks = list(Synthetic(records=RECORDS, seed=7).read())
    assert Synthetic.is_synthetic
    assert sum(chunk.rejected.num_rows for chunk in chunks) == 0
    attacks = Counter(name for chunk in chunks for name in chunk.records["attack"].to_pylist())
    assert attacks.total() == len(records)
    assert set(attacks) == ATTACKS | {"benign"}
    bytes_read = sum(sum(chunk.records["total_length_fwd_packets"].to_pylist()) for chunk in chunks)
    assert bytes_read == records.total_length_fwd_packets.sum()


def test_the_command_names_the_files_and_refuses_politely(tmp_path, capsys):
    assert main([str(tmp_path), "--records", "500"]) == 0
    assert [line.rsplit("/", 1)[-1] for line in capsys.readouterr().out.splitlines()] == list(LABELS)
    assert main([str(tmp_path), "--records", "5"]) == 1
    assert "at least 500, given 5" in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    monday = write(tmp_path, 500, 0)[0]
    before = monday.read_bytes()

    def full_disk(table, sink, options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.csv, "write_csv", full_disk)
    with pytest.raises(ArtifactError, match=r"cannot be written \(No space left"):
        write(tmp_path, 500, 1)
    assert monday.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == set(LABELS)


def test_the_example_is_every_tenth_record_of_another_seed_without_its_label(tmp_path):
    shipped = Path(__file__).parents[2] / "data" / "example" / "flows.csv"
    files = [path.read_text(errors="replace").splitlines() for path in write(tmp_path, 2_000, 1)]
    rows = [row for _, *rows in files for row in rows]
    kept = [line.rpartition(",")[0] for line in (files[0][0], *rows[::10])]
    assert shipped.read_text().splitlines() == kept
    assert len(kept) == 201
    assert sum(not row.endswith(",BENIGN") for row in rows[::10]) == 45  # as data/README.md says
