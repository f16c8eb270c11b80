"""Simulated traffic as Zeek would log it: states and histories by hand, and the same traffic as its captures."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.packets.bricks import ACK, FIN, RST, SYN, Packets
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.synthetic.__main__ import main
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.connections import connections
from pipeline.datasets.synthetic.zeek_logs import write_logs

C, S = 0, 1
SHAKEN = [(C, SYN, 0), (S, SYN | ACK, 0), (C, ACK, 0)]


def packets(*conversations, gap=1000):
    """(conversation, [(side, flags, payload)]) as packets that follow each other by a millisecond."""
    rows = [(which, gap * at, *step) for which, steps in conversations for at, step in enumerate(steps)]
    which, time, side, flags, payload = np.array(rows, np.int64).T
    return Packets(which, time, side, payload, np.full(len(rows), 20), flags, np.full(len(rows), 100))


@pytest.mark.parametrize(
    ("steps", "state", "history"),
    [
        ([*SHAKEN, (C, ACK, 5), (S, ACK, 9), (C, FIN | ACK, 0), (S, FIN | ACK, 0), (C, ACK, 0)], "SF", "ShADdFf"),
        ([*SHAKEN, (C, ACK, 5), (S, ACK, 0)], "S1", "ShADa"),
        ([*SHAKEN, (C, FIN | ACK, 0), (S, ACK, 0)], "S2", "ShAFa"),
        ([*SHAKEN, (S, FIN | ACK, 0)], "S3", "ShAf"),
        ([*SHAKEN, (C, RST, 0)], "RSTO", "ShAR"),
        ([*SHAKEN, (S, RST | ACK, 0), (C, RST, 0)], "RSTR", "ShArR"),
        ([(C, SYN, 0)], "S0", "S"),
        ([(C, SYN, 0), (S, RST | ACK, 0)], "REJ", "Sr"),
        ([(C, SYN, 0), (C, RST, 0)], "RSTOS0", "SR"),
        ([(C, SYN, 0), (C, FIN | ACK, 0)], "SH", "SF"),
        ([(S, SYN | ACK, 0), (S, RST, 0)], "RSTRH", "^hr"),
        ([(S, SYN | ACK, 0), (S, FIN | ACK, 0)], "SHR", "^hf"),
        ([(S, ACK, 7), (C, ACK, 0)], "OTH", "^dA"),
    ],
)
def test_how_a_connection_began_and_ended(steps, state, history):
    made = connections(packets((4, steps)), tcp=True)
    assert (made.conversation.tolist(), made.state.tolist(), made.history.tolist()) == ([4], [state], [history])


def test_what_both_sides_sent():
    made = connections(packets((1, [(C, ACK, 5), (S, ACK, 900), (C, ACK, 0)]), (3, [(S, ACK, 1)])), tcp=True)
    assert made.conversation.tolist() == [1, 3]
    assert made.packets.tolist() == [[2, 0], [1, 1]]
    assert made.payload.tolist() == [[5, 0], [900, 1]]
    assert made.ip_bytes.tolist() == [[85, 0], [940, 41]]
    assert (made.end - made.start).tolist() == [2000, 0]


def test_datagrams():
    made = connections(packets((0, [(C, 0, 9), (S, 0, 9)]), (1, [(C, 0, 9)]), (2, [(S, 0, 9)])), tcp=False)
    assert made.state.tolist() == ["SF", "S0", "SHR"]
    assert made.history.tolist() == ["Dd", "D", "^d"]
    assert made.ip_bytes[0].tolist() == [37, 37, 0]


def read(dataset):
    return pa.concat_tables([chunk.records for chunk in dataset.read()]).to_pandas()


def test_the_log_tells_of_the_traffic_that_the_capture_holds(tmp_path):
    write_captures(tmp_path / "pcap", 300, 1, seed=3)
    write_logs(tmp_path / "zeek", 300, 1, seed=3)
    flows, logged = read(Captures(tmp_path / "pcap")), read(Zeek(tmp_path / "zeek"))
    ends = ["timestamp", "src_ip", "src_port", "dst_ip", "dst_port", "protocol"]
    both = flows.astype({"src_ip": str, "dst_ip": str}).merge(
        logged.astype({"src_ip": str, "dst_ip": str}), on=ends, suffixes=("_flow", "_log")
    )
    whole = both[both.total_fwd_packets + both.total_bwd_packets == both.fwd_packets + both.bwd_packets]
    assert len(both) > 0.95 * len(logged)  # a flow that the server is seen to begin has its ends turned round
    assert len(whole) > 0.95 * len(both)  # a long conversation becomes several flows
    assert (whole.total_length_fwd_packets == whole.fwd_payload_bytes).all()
    assert (whole.total_length_bwd_packets == whole.bwd_payload_bytes).all()
    np.testing.assert_allclose(whole.flow_duration / 1e6, whole.duration, atol=1e-6)


@pytest.mark.parametrize("attacks", [False, True])
def test_both_formats_give_the_same_records(tmp_path, attacks):
    where = ["record_id", "source_file", "row"]
    for form in ("tsv", "json"):
        write_logs(tmp_path / form, 200, 2, 0, attacks, form)
    own, as_json = (read(Zeek(tmp_path / form)).drop(columns=where) for form in ("tsv", "json"))
    assert own.astype(str).equals(as_json.astype(str))
    assert set(own["attack"]) == ({"benign", "ftp_patator", "ssh_patator"} if attacks else {"unlabelled"})


def test_the_command_line_writes_the_logs_of_working_days(tmp_path, capsys):
    assert main([str(tmp_path), "--zeek", "tsv", "--attacks", "--conversations", "60", "--days", "2"]) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["conn.2017-07-03.log", "conn.2017-07-04.log"]
    assert set(read(Zeek(tmp_path))["attack"]) == {"benign", "ftp_patator", "ssh_patator"}
    assert capsys.readouterr().out.count("conn.") == 2
    assert main([str(tmp_path), "--zeek", "tsv", "--conversations", "1"]) == 1
    assert "needs a day and a conversation on each" in capsys.readouterr().err
