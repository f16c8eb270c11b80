"""Flows found by the vectorised reader against flows told packet by packet, however the file is cut into blocks."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets.base import PASSED_OVER
from pipeline.datasets.packets.assembly import Assembly
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.packets.classic import Classic
from pipeline.datasets.packets.decode import decode
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.traffic import nothing
from pipeline.datasets.schema import FEATURE_NAMES
from tests.datasets import told_flows
from tests.datasets.test_captures import read
from tests.datasets.wire import ACK, FIN, PSH, RST, SECOND, START, SYN, ethernet, ipv4, pcap, tcp, udp

HOSTS = [("10.0.0.1", 5_000), ("10.0.0.2", 80), ("10.0.0.1", 80)]
GAPS = [0, 1, 40_000, SECOND, SECOND + 1, 6 * SECOND, 59 * SECOND, 120 * SECOND, 120 * SECOND + 1, 300 * SECOND]
FLAGS = [ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK, RST, 0]
PACKET = st.tuples(
    st.sampled_from(GAPS),
    st.sampled_from([(0, 1), (1, 0), (1, 2), (2, 1)]),
    st.sampled_from([6, 6, 6, 17]),
    st.sampled_from(FLAGS),
    st.sampled_from([0, 0, 1, 700]),
)


@pytest.fixture
def blocks(monkeypatch):
    """Sets how many bytes and packets are read at once."""

    def cut(size, packets):
        monkeypatch.setattr(Capture, "size", size)
        monkeypatch.setattr(Captures, "at_once", packets)

    return cut


def made(drawn):
    """Packets as the oracle takes them."""
    time, packets = START, []
    for gap, (source, target), protocol, flags, data in drawn:
        time += gap
        ends = HOSTS[source], HOSTS[target]
        if protocol == 17:
            packets.append(told_flows.Packet(time, *ends, 17, data=data))
        else:
            packets.append(told_flows.Packet(time, *ends, 6, flags, data, header=20 + 4 * (data > 0), window=flags + 1))
    return packets


def frame(packet):
    (source, source_port), (target, target_port) = packet.source, packet.target
    body = udp(source_port, target_port, bytes(packet.data))
    if packet.protocol == 6:
        data, window = bytes(packet.data), packet.window
        body = tcp(source_port, target_port, packet.flags, data, window=window, header=packet.header)
    return ethernet(ipv4(source, target, packet.protocol, body))


def written(path, packets):
    path.write_bytes(pcap([(packet.time, frame(packet)) for packet in packets]))
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(PACKET, min_size=1, max_size=40), size=st.integers(32, 900), at_once=st.integers(1, 30))
def test_every_flow_and_feature_agrees_with_the_rules_told_packet_by_packet(blocks, tmp_path, drawn, size, at_once):
    packets = made(drawn)
    path = written(tmp_path / "some.pcap", packets)
    told = told_flows.flows(packets)
    blocks(size, at_once)
    records, rejected = read(path)
    assert rejected.num_rows == 0
    assert records["timestamp"].cast("int64").to_pylist() == [flow.packets[0].time for flow in told]
    assert records["src_port"].to_pylist() == [flow.origin[1] for flow in told]
    features = [told_flows.features(flow) for flow in told]
    for name in FEATURE_NAMES:
        want = np.array([row[name] for row in features], float)
        np.testing.assert_allclose(records[name].to_numpy(), want, rtol=1e-9, atol=1e-6, err_msg=name)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(st.tuples(PACKET, st.integers(-3 * SECOND, 400 * SECOND)), min_size=1, max_size=60),
    size=st.integers(32, 900),
    at_once=st.integers(1, 30),
)
def test_records_do_not_depend_on_how_the_file_is_cut_even_out_of_order(blocks, tmp_path, drawn, size, at_once):
    packets = made([packet for packet, _ in drawn])
    for packet, (_, shift) in zip(packets, drawn, strict=True):
        packet.time += shift if shift % 7 == 0 else shift % 1000
    path = written(tmp_path / "some.pcap", packets)
    blocks(1 << 22, 1 << 16)
    whole = read(path)
    blocks(size, at_once)
    parts = read(path)
    for one, other in zip(whole, parts, strict=True):
        assert one.to_pylist() == other.to_pylist()


def test_each_reading_gives_the_same_bytes(tmp_path):
    packets = made([(1, (0, 1), 6, ACK, n) for n in range(3)])
    packets += [told_flows.Packet(START + n, (f"10.0.1.{n}", 1), (f"10.9.{n}.1", 2), 17) for n in range(60)]
    path = written(tmp_path / "some.pcap", packets)
    first, second = (read(path)[0] for _ in range(2))
    assert first.equals(second)  # dictionaries, too


def test_no_more_packets_are_kept_than_the_timeout_holds():
    packet = told_flows.Packet(0, HOSTS[0], HOSTS[1], 6, ACK, 9, 20)
    content = pcap([(START + n * SECOND, frame(packet)) for n in range(2_000)])
    traffic = decode(next(Classic(content).read(content))).traffic
    assembly, kept, found = Assembly(120 * SECOND), [], 0
    for begin in range(0, len(traffic), 50):
        part = traffic.select(np.arange(begin, min(begin + 50, len(traffic))))
        found += len(assembly.add(part, int(part.time[-1])))
        kept.append(len(assembly))
    assert max(kept) <= 2 * 121 + 1  # flows of 121 packets: one that may go on, and one that is over
    assert found + len(assembly.add(nothing(), None)) == -(-2_000 // 121)


@pytest.mark.parametrize("length", [1_000, 5_000])
def test_open_flows_are_bounded_however_long_the_capture_is(tmp_path, blocks, monkeypatch, length):
    waiting, add = [], Assembly.add

    def counted(self, traffic, horizon):
        waiting.append(len(self) + len(traffic))
        return add(self, traffic, horizon)

    monkeypatch.setattr(Assembly, "add", counted)
    monkeypatch.setattr(Captures, "most_open", 100)
    blocks(2_000, 10)
    clients = [(f"10.0.{n // 200}.{n % 200}", 1_000) for n in range(length // 4)]
    pairs = [(each, HOSTS[1])[:: -1 if n % 2 else 1] for each in clients for n in range(4)]
    packets = [told_flows.Packet(START + n * SECOND // 50, *pair, 17, data=n % 7) for n, pair in enumerate(pairs)]
    records, rejected = read(written(tmp_path / "some.pcap", packets))
    assert max(waiting) <= 400  # packets, ghosts, and what comes
    assert sum(records[f"total_{way}_packets"].to_numpy().sum() for way in ("fwd", "bwd")) == length
    (reason,) = rejected["reason"].to_pylist()
    early, told = reason.removeprefix(PASSED_OVER).split(" flows ended early, the oldest first: ")
    assert told == "more than 100 packets of open flows would have been kept"
    assert length // 4 - 30 < int(early.replace(",", "")) < length // 4 * 1.2
    assert set(records["dst_port"].to_pylist()) == {80}  # what goes on keeps its forward side


def test_the_oldest_flows_end_early_as_if_their_time_were_up():
    ends = [(f"10.0.0.{n}", 1) for n in range(9)]
    packets = [told_flows.Packet(START + n, ends[n // 3], HOSTS[1], 17, data=1) for n in range(9)]
    packets += [told_flows.Packet(START + 9 + n, HOSTS[1], ends[n], 17, data=1) for n in range(3)]
    content = pcap([(packet.time, frame(packet)) for packet in packets])
    traffic = decode(next(Classic(content).read(content))).traffic
    assembly = Assembly(120 * SECOND, most=8)
    ended = assembly.add(traffic.select(slice(9)), int(traffic.time[8]))
    assert (len(ended), assembly.early) == (2, 2)
    assert np.diff(ended.records.starts, append=6).tolist() == [3, 3]
    rest = assembly.add(traffic.select(slice(9, None)), None)
    assert sorted(np.diff(rest.records.starts, append=6).tolist()) == [1, 1, 4]
    assert (rest.records.packets.side[rest.records.starts] != rest.records.origin).sum() == 2  # of the two that ended
