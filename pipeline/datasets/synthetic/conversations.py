"""Conversations of two hosts, before they become packets: the hosts, and who sends how much in which turn.

A behaviour makes a `Link` (how the hosts connect, n conversations at once) and `Turns` (the messages on top of it).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[Ints], Floats]  # (m,) conversation of each message -> (m,) bytes or microseconds

CLIENT, SERVER = 0, 1
MILLISECOND, SECOND = 1e3, 1e6  # in microseconds


class Opening(IntEnum):
    """How a conversation begins."""

    HANDSHAKE = 0
    HALF_OPEN = 1  # the client never completes the handshake
    REFUSED = 2  # every probe is answered by a reset
    UNANSWERED = 3  # every probe is lost
    JOINED = 4  # the capture sees it from the middle on; datagrams, too


class Acks(IntEnum):
    """How a host acknowledges the last segment of a message."""

    NEVER = 0  # nor any other segment
    WITH_THE_ANSWER = 1  # or alone where that would take too long
    AT_ONCE = 2


class Closing(IntEnum):
    """How a conversation ends."""

    CLIENT_FIN = 0
    CLIENT_FIN_ACKED = 1  # the server acknowledges first, and closes its half later
    SERVER_FIN = 2
    SERVER_FIN_ACKED = 3
    SERVER_FIN_IGNORED = 4  # the client goes on, and meets a reset
    SERVER_FIN_LINGERING = 5  # the client acknowledges, and resets late
    SERVER_FIN_LATE = 6  # the client closes its half late
    CLIENT_RESET = 7
    SERVER_RESET = 8
    LEFT_OPEN = 9


@dataclass(frozen=True)
class Link:
    """Two hosts and the state between them; first axis 0 the client, 1 the server.

    Attributes:
        tcp: whether these are TCP conversations, else UDP.
        port: (2, n) port numbers.
        header: (2, n) bytes of the transport header, as the extractor sees them.
        syn_header: (n,) bytes of the header of a SYN.
        window: (2, n) advertised window once connected.
        syn_window: (2, n) advertised window while connecting.
        segment: (2, n) most payload bytes in one captured packet.
        pads: (2, n) whether the captured frames of this host carry Ethernet padding.
        latency: (2, n) microseconds until this host's answer is seen.
        acks: (2, n) `Acks` of this host.
        opening: (n,) `Opening`.
        tries: (n,) probes of an opening that is refused or unanswered.
        retry: (n,) microseconds between the first two of them.
        backoff: (n,) factor by which the wait grows.
        probe: (n,) TCP flags of the first packet.
        closing: (n,) `Closing`.
        linger: (n,) microseconds between the last message and the close.
    """

    tcp: bool
    port: Ints
    header: Ints
    syn_header: Ints
    window: Ints
    syn_window: Ints
    segment: Ints
    pads: NDArray[np.bool_]
    latency: Floats
    acks: Ints
    opening: Ints
    tries: Ints
    retry: Floats
    backoff: Floats
    probe: Ints
    closing: Ints
    linger: Floats

    def __len__(self) -> int:
        return len(self.opening)

    def but(self, **fields: Any) -> Self:
        """The same link with other fields; whatever broadcasts to a field's shape is taken."""
        shaped: dict[str, Any] = {}
        for name, value in fields.items():
            old = getattr(self, name)
            shaped[name] = np.broadcast_to(np.asarray(value), old.shape).astype(old.dtype)
        return replace(self, **shaped)

    def servers(self, port: Any, **fields: Any) -> Self:
        """The same link towards ``port``, with other fields."""
        return self.but(port=np.stack([self.port[CLIENT], np.broadcast_to(port, len(self))]), **fields)


@dataclass(frozen=True)
class Turns:
    """Messages in the order in which they are sent, conversation after conversation.

    Attributes:
        conversation: (t,) ascending.
        side: (t,) the sender, `CLIENT` or `SERVER`.
        size: (t,) bytes.
        delay: (t,) microseconds of thinking before it, on top of the latency.
    """

    conversation: Ints
    side: Ints
    size: Ints
    delay: Floats

    def select(self, keep: NDArray[np.bool_]) -> "Turns":
        """Those turns for which ``keep`` is true."""
        return Turns(self.conversation[keep], self.side[keep], self.size[keep], self.delay[keep])


Message = tuple[int, Draw, Draw]  # who, bytes, microseconds of thinking before


def rounds(count: Ints, *messages: Message) -> Turns:
    """``messages`` in turn, ``count`` (n,) times in each conversation."""
    owner = np.repeat(np.arange(len(count)), count)  # (m,)
    size = np.stack([np.maximum(draw(owner), 0) for _, draw, _ in messages], axis=1)  # (m, messages)
    delay = np.stack([np.maximum(draw(owner), 0) for _, _, draw in messages], axis=1)
    side = np.broadcast_to([who for who, _, _ in messages], size.shape)
    return Turns(np.repeat(owner, len(messages)), side.ravel(), size.ravel().astype(np.int64), delay.ravel())


def once(n: int, *messages: Message) -> Turns:
    """``messages`` one time in each of ``n`` conversations."""
    return rounds(np.ones(n, np.int64), *messages)


def script(*acts: Turns) -> Turns:
    """The acts one after the other in every conversation."""
    conversation = np.concatenate([act.conversation for act in acts])
    order = np.argsort(conversation, kind="stable")
    return Turns(
        conversation[order],
        np.concatenate([act.side for act in acts])[order],
        np.concatenate([act.size for act in acts])[order],
        np.concatenate([act.delay for act in acts])[order],
    )


def about(rng: Generator, median: Any, sigma: float, low: float = 0, high: float = np.inf) -> Draw:
    """Log-normal draws around ``median`` (a number, or (n,) one for each conversation), kept within limits."""

    def draw(owner: Ints) -> Floats:
        middle = np.broadcast_to(median, owner.shape) if np.ndim(median) == 0 else np.asarray(median)[owner]
        return np.asarray(np.clip(middle * np.exp(sigma * rng.standard_normal(len(owner))), low, high), float)

    return draw


def between(rng: Generator, low: float, high: float) -> Draw:
    """Uniform draws."""
    return lambda owner: rng.uniform(low, high, len(owner))


def fixed(value: Any) -> Draw:
    """Always ``value`` (a number, or (n,) one for each conversation)."""
    return lambda owner: np.full(len(owner), value, float) if np.ndim(value) == 0 else np.asarray(value, float)[owner]


def varied(rng: Generator, n: int, median: float, sigma: float) -> Floats:
    """(n,) log-normal draws around ``median``: one parameter for each conversation."""
    return np.asarray(median * np.exp(sigma * rng.standard_normal(n)), float)


def counted(rng: Generator, n: int, median: float, sigma: float, limits: tuple[int, int]) -> Ints:
    """(n,) whole numbers, log-normal around ``median``, within limits."""
    return np.clip(np.rint(varied(rng, n, median, sigma)), *limits).astype(np.int64)


def picked(rng: Generator, n: int, weights: Mapping[Any, float]) -> Ints:
    """(n,) keys of ``weights``, drawn in proportion to its values."""
    share = np.array(list(weights.values()), float)
    return rng.choice(np.array([int(key) for key in weights]), n, p=share / share.sum())
