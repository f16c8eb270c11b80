"""The simulated extractor against numbers worked out by hand, and against the rules told packet by packet."""

from itertools import pairwise
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.packets.bricks import ACK, FIN, PSH, RST, SYN, Packets
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.datasets.synthetic.attacks import ATTACKS
from pipeline.datasets.synthetic.behaviours import BEHAVIOURS
from pipeline.datasets.synthetic.conversations import CLIENT, SERVER
from pipeline.datasets.synthetic.flowmeter import extract, split
from pipeline.datasets.synthetic.hosts import tcp
from pipeline.datasets.synthetic.packets import transmit

EVERYTHING = {**{name: made for name, (_, made) in BEHAVIOURS.items()}, **ATTACKS}
SECOND = 1_000_000


def measure(*rows):
    """Features of packets ``(conversation, microseconds, side, payload, header, flags, window)``; port 50000 to 80."""
    packets = Packets(*np.array(rows, np.int64).T)
    link = tcp(np.random.default_rng(0), int(packets.conversation.max()) + 1).but(port=[[50_000], [80]])
    return extract(split(packets), link)


def of(features, record):
    return {name: values[record] for name, values in features.items()}


def test_a_web_request_by_hand():
    features = measure(
        (0, 0, CLIENT, 0, 40, SYN, 29_200),
        (0, 100, SERVER, 0, 40, SYN | ACK, 28_960),
        (0, 150, CLIENT, 0, 32, ACK, 229),
        (0, 250, CLIENT, 100, 32, ACK | PSH, 229),
        (0, 6_000_250, SERVER, 500, 32, ACK | PSH, 235),
        (0, 12_000_250, CLIENT, 0, 32, FIN | ACK, 229),  # ends the record; its gap is no idle time
        (0, 12_000_300, SERVER, 6, 32, FIN | ACK, 236),  # the farewell is a record of its own, begun by the server
        (0, 12_000_310, CLIENT, 0, 32, ACK, 230),
    )
    first, second = of(features, 0), of(features, 1)
    lengths = [0, 0, 0, 0, 100, 500, 0]  # the first packet counts twice
    expected = {
        "destination_port": 80,
        "flow_duration": 12_000_250,
        "total_fwd_packets": 4,
        "total_bwd_packets": 2,
        "total_length_fwd_packets": 100,
        "total_length_bwd_packets": 500,
        "fwd_packet_length_max": 100,
        "fwd_packet_length_mean": 25,
        "fwd_packet_length_std": 50,
        "bwd_packet_length_mean": 250,
        "flow_bytes_per_s": 600 / 12.00025,
        "flow_packets_per_s": 6 / 12.00025,
        "flow_iat_max": 6 * SECOND,
        "flow_iat_min": 50,
        "flow_iat_mean": 12_000_250 / 5,
        "fwd_iat_total": 12_000_250,
        "fwd_iat_min": 100,
        "bwd_iat_total": 6_000_150,
        "bwd_iat_std": 0,
        "fwd_header_length": 40 + 3 * 32,
        "bwd_header_length": 72,
        "packet_length_mean": 600 / 7,
        "packet_length_std": stdev(lengths),
        "packet_size_mean": 100,
        "psh_flag_count": 1,  # where the published files count the SYN
        "syn_flag_count": 0,
        "ack_flag_count": 0,
        "down_up_ratio": 0,
        "init_win_bytes_fwd": 29_200,
        "init_win_bytes_bwd": 235,
        "fwd_data_packets": 1,
        "fwd_segment_size_min": 32,
        "active_mean": 250,
        "active_max": 250,
        "idle_mean": 6 * SECOND,
        "idle_max": 6 * SECOND,
        "idle_std": 0,
    }
    assert {name: first[name] for name in expected} == pytest.approx(expected)
    assert second["destination_port"] == 50_000
    assert (second["total_fwd_packets"], second["total_bwd_packets"]) == (1, 1)
    assert (second["ack_flag_count"], second["urg_flag_count"], second["psh_flag_count"]) == (1, 1, 0)
    assert second["packet_length_mean"] == pytest.approx((6 + 6 + 0) / 3)
    assert (second["init_win_bytes_fwd"], second["init_win_bytes_bwd"]) == (236, 230)


def test_no_duration_makes_rates_undefined():
    features = measure(
        (0, 7, CLIENT, 48, 20, 0, -1),
        (0, 7, SERVER, 48, 20, 0, -1),
        (1, 7, CLIENT, 0, 20, ACK, 10),
        (1, 7, CLIENT, 0, 20, RST, 0),
    )
    assert np.isposinf(features["flow_bytes_per_s"][0])
    assert np.isnan(features["flow_bytes_per_s"][1])
    assert np.isposinf(features["flow_packets_per_s"]).all()
    assert (features["fwd_packets_per_s"] == 0).all()
    assert features["init_win_bytes_fwd"].tolist() == [-1, 10]
    assert features["init_win_bytes_bwd"].tolist() == [-1, -1]
    assert features["ack_flag_count"].tolist() == [0, 1]


def test_two_minutes_end_a_record_and_single_packets_are_dropped():
    features = measure(
        (0, 0, CLIENT, 10, 32, ACK | PSH, 5),
        (0, 119 * SECOND, SERVER, 10, 32, ACK | PSH, 6),
        (0, 120 * SECOND, SERVER, 10, 32, ACK | PSH, 6),  # just in time
        (0, 120 * SECOND + 1, SERVER, 30, 32, ACK | PSH, 7),  # begins the next, the other way round
        (0, 121 * SECOND, CLIENT, 1, 32, ACK | PSH, 8),
        (0, 300 * SECOND, CLIENT, 1, 32, ACK, 9),  # alone
        (1, 0, CLIENT, 1, 32, ACK, 9),
        (1, 1, SERVER, 1, 32, ACK, 9),
    )
    assert features["flow_duration"].tolist() == [120 * SECOND, SECOND - 1, 1]
    assert features["destination_port"].tolist() == [80, 50_000, 80]
    assert features["idle_max"].tolist() == [119 * SECOND, 0, 0]
    assert features["active_max"].tolist() == [0, 0, 0]
    assert features["total_length_fwd_packets"].tolist() == [10, 30, 1]


def test_a_fin_that_begins_a_record_does_not_end_it():
    steps = [(0, at, side, 0, 32, FIN | ACK, 9) for at, side in enumerate([CLIENT, SERVER, CLIENT, SERVER])]
    features = measure(*steps)
    assert (features["total_fwd_packets"] + features["total_bwd_packets"]).tolist() == [2, 2]


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_feature_agrees_with_the_rules_told_packet_by_packet(name, seed):
    link, turns = EVERYTHING[name](np.random.default_rng(seed), 3)
    packets = transmit(np.random.default_rng(seed), link, turns)
    features = extract(split(packets), link)
    assert tuple(features) == FEATURE_NAMES
    told = [tell(record, link) for record in told_split(packets)]
    assert len(told) == len(features["flow_duration"])
    for column in FEATURE_NAMES:
        want = np.array([record[column] for record in told], float)
        np.testing.assert_allclose(features[column].astype(float), want, rtol=1e-9, atol=1e-6, err_msg=column)


def told_split(packets):
    """Records as lists of packets, one packet after the other."""
    rows = list(zip(*(getattr(packets, name).tolist() for name in vars(packets)), strict=True))
    records, current = [], []
    for row in rows:
        if current and (row[0] != current[0][0] or row[1] - current[0][1] > 120 * SECOND):
            records.append(current)
            current = []
        current.append(row)
        if row[5] & FIN and len(current) > 1:
            records.append(current)
            current = []
    return [record for record in [*records, current] if len(record) > 1]


def summary(prefix, values):
    values = values or [0]
    return {
        f"{prefix}_total": sum(values),
        f"{prefix}_mean": fmean(values),
        f"{prefix}_std": stdev(values) if len(values) > 1 else 0,
        f"{prefix}_max": max(values),
        f"{prefix}_min": min(values),
    }


def gaps(rows):
    return [after[1] - before[1] for before, after in pairwise(rows)]


def activity(rows):
    """Active and idle times as the extractor keeps them while packets come in."""
    begin = end = rows[0][1]
    active, idle = [], []
    for position, (_, time, _, _, _, flags, _) in enumerate(rows[1:], 1):
        if flags & FIN and position == len(rows) - 1:
            break
        if time - end > 5 * SECOND:
            active += [end - begin] if end > begin else []
            idle.append(time - end)
            begin = time
        end = time
    return {**summary("active", active), **summary("idle", idle)}


def per_second(amount, duration, undefined=None):
    if duration:
        return amount / duration * 1e6
    return undefined if undefined is not None else (np.inf if amount else np.nan)


def tell(rows, link):
    """All features of one record."""
    fwd = [row for row in rows if row[2] == rows[0][2]]
    bwd = [row for row in rows if row[2] != rows[0][2]]
    lengths = [rows[0][3], *(row[3] for row in rows)]
    duration, flags = rows[-1][1] - rows[0][1], rows[0][5]
    set_flags = {
        name: int(bool(flags >> bit & 1))
        for name, bit in {"fin": 2, "syn": 3, "rst": 6, "psh": 1, "ack": 4, "urg": 0, "cwr": 5, "ece": 7}.items()
    }
    told = {
        "destination_port": link.port[1 - rows[0][2], rows[0][0]],
        "flow_duration": duration,
        "flow_bytes_per_s": per_second(sum(row[3] for row in rows), duration),
        "flow_packets_per_s": per_second(len(rows), duration),
        "packet_size_mean": sum(lengths) / len(rows),
        "down_up_ratio": len(bwd) // len(fwd),
        "fwd_header_length_repeated": sum(row[4] for row in fwd),
        "init_win_bytes_fwd": rows[0][6],
        "init_win_bytes_bwd": bwd[-1][6] if bwd else -1,
        "fwd_data_packets": sum(row[3] > 0 for row in fwd[1:]),
        "fwd_segment_size_min": min(row[4] for row in fwd),
        "fwd_psh_flags": set_flags["syn"],
        "fwd_urg_flags": set_flags["cwr"],
        "bwd_psh_flags": 0,
        "bwd_urg_flags": 0,
        **{f"{name}_flag_count": value for name, value in set_flags.items()},
        **summary("packet_length", lengths),
        **summary("flow_iat", gaps(rows)),
        **activity(rows),
    }
    told["packet_length_variance"] = told["packet_length_std"] ** 2
    for way, some in (("fwd", fwd), ("bwd", bwd)):
        sizes = [row[3] for row in some]
        told |= summary(f"{way}_packet_length", sizes) | summary(f"{way}_iat", gaps(some))
        told |= {
            f"total_{way}_packets": len(some),
            f"total_length_{way}_packets": sum(sizes),
            f"{way}_header_length": sum(row[4] for row in some),
            f"{way}_packets_per_s": per_second(len(some), duration, undefined=0),
            f"{way}_segment_size_mean": told[f"{way}_packet_length_mean"],
            f"subflow_{way}_packets": len(some),
            f"subflow_{way}_bytes": sum(sizes),
            **{f"{way}_bulk_{what}_mean": 0 for what in ("bytes", "packets", "rate")},
        }
    return told
