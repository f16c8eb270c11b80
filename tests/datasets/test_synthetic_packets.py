"""Properties of the simulated packets, whatever the application or the attack."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets.packets.bricks import ACK, FIN, PSH, RST, SYN
from pipeline.datasets.synthetic.attacks import ATTACKS
from pipeline.datasets.synthetic.behaviours import BEHAVIOURS
from pipeline.datasets.synthetic.conversations import (
    CLIENT,
    SERVER,
    Closing,
    Opening,
    about,
    fixed,
    once,
    rounds,
    script,
)
from pipeline.datasets.synthetic.hosts import LINUX, tcp, udp
from pipeline.datasets.synthetic.packets import transmit

EVERYTHING = {**{name: made for name, (_, made) in BEHAVIOURS.items()}, **ATTACKS}


def plain(n=1, **fields):
    """A link without chance: handshake, no padding, segments of 1000 bytes."""
    link = tcp(np.random.default_rng(0), n, LINUX)
    return link.but(
        **{"opening": Opening.HANDSHAKE, "pads": False, "segment": 1_000, "closing": Closing.CLIENT_FIN, **fields}
    )


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_packets_are_in_order_and_within_their_types(name, seed):
    rng = np.random.default_rng(seed)
    link, turns = EVERYTHING[name](rng, 20)
    packets = transmit(rng, link, turns)
    moments = (packets.conversation << 40) + packets.time
    assert (np.diff(moments) >= 0).all()
    assert (packets.time >= 0).all()
    assert (packets.payload >= 0).all()
    assert np.isin(packets.header, (20, 24, 32, 40, 44)).all()
    assert packets.window.max() <= 65_535
    assert (packets.window >= 0).all() if link.tcp else (packets.window == -1).all()
    assert set(np.unique(packets.side)) <= {CLIENT, SERVER}


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_every_byte_of_a_message_is_carried_once(sizes, seed):
    turns = script(
        *(once(1, (CLIENT if place % 2 else SERVER, fixed(size), fixed(50))) for place, size in enumerate(sizes))
    )
    packets = transmit(np.random.default_rng(seed), plain(), turns)
    for side in (CLIENT, SERVER):
        assert packets.payload[packets.side == side].sum() == sum(sizes[1 - side :: 2])
    assert (packets.flags & PSH > 0).sum() == len(sizes)  # one at the end of each message
    assert packets.payload.max() <= 1_000


def test_a_whole_conversation_step_by_step():
    turns = once(1, (CLIENT, fixed(100), fixed(0)), (SERVER, fixed(1_500), fixed(500)))
    link = plain(latency=[[50], [1_000]], acks=1, linger=1e6, syn_header=40)
    packets = transmit(np.random.default_rng(1), link, turns)
    assert packets.flags[:4].tolist() == [SYN, SYN | ACK, ACK, PSH | ACK]
    assert packets.header[:4].tolist() == [40, 40, 32, 32]
    assert packets.flags[-3:].tolist() == [FIN | ACK, FIN | ACK, ACK]
    assert packets.side[-3:].tolist() == [CLIENT, SERVER, CLIENT]
    assert packets.payload[packets.payload > 0].tolist() == [100, 1_000, 500]
    assert packets.time[-3] - packets.time[-4] >= 1e6


@pytest.mark.parametrize(
    ("opening", "flags"),
    [
        (Opening.REFUSED, [SYN, RST | ACK] * 3),
        (Opening.UNANSWERED, [SYN] * 3),
        (Opening.HALF_OPEN, [SYN, SYN | ACK, RST | ACK, RST]),
    ],
)
def test_what_does_not_open_says_nothing(opening, flags):
    turns = once(1, (CLIENT, fixed(100), fixed(0)))
    link = plain(opening=opening, tries=3, retry=1e6, closing=Closing.CLIENT_RESET)
    packets = transmit(np.random.default_rng(1), link, turns)
    assert packets.flags.tolist() == flags
    assert packets.payload.sum() == 0


def test_short_frames_are_padded_to_the_least_that_ethernet_carries():
    turns = once(1, (CLIENT, fixed(1), fixed(0)))
    packets = transmit(np.random.default_rng(1), plain(pads=True, header=20, syn_header=24), turns)
    opening = packets.flags & SYN > 0
    assert (packets.payload[opening] == 2).all()
    assert (packets.payload[~opening] == 6).all()


def test_datagrams_have_neither_handshake_nor_acknowledgement():
    turns = rounds(np.array([3]), (CLIENT, fixed(48), fixed(10)), (SERVER, fixed(48), fixed(10)))
    packets = transmit(np.random.default_rng(1), udp(np.random.default_rng(0), 1, 123), turns)
    assert packets.side.tolist() == [CLIENT, SERVER] * 3
    assert (packets.flags == 0).all()


def test_draws_around_a_median_keep_their_limits():
    drawn = about(np.random.default_rng(3), np.array([10.0, 1e6]), 2.0, low=5, high=2e6)(np.repeat([0, 1], 500))
    assert drawn.min() >= 5
    assert drawn.max() <= 2e6
    assert np.median(drawn[500:]) > 1e3 * np.median(drawn[:500])
