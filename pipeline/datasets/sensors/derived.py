"""Features that are computed from what a sensor counts: ratios, rates, and sizes of a typical packet.

Counts grow with the length of a connection. Ratios do not: they show how the two sides share the work.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.datasets.ratios import Floats, log_ratio
from pipeline.datasets.schema import Column

SHORTEST = 1e-3  # seconds: the rate of a shorter connection is that of one of a millisecond


@dataclass(frozen=True)
class Derived:
    """A feature that is computed from others.

    Attributes:
        column: the feature.
        needs: names of the columns that it is computed from.
        formula: (n,) each -> (n,).
    """

    column: Column
    needs: tuple[str, ...]
    formula: Callable[..., Floats]


def of_counts(content: str) -> tuple[Derived, ...]:
    """The features of any sensor that counts packets and bytes of both sides, and the duration.

    Args:
        content: what its bytes are, such as ``ip_bytes``: the columns are ``fwd_ip_bytes`` and ``bwd_ip_bytes``.
    """
    sizes, packets = (f"fwd_{content}", f"bwd_{content}"), ("fwd_packets", "bwd_packets")
    return (
        _ratio("bytes_balance", *sizes),
        _ratio("packets_balance", *packets),
        _mean("fwd_packet_size", sizes[0], packets[0]),
        _mean("bwd_packet_size", sizes[1], packets[1]),
        Derived(Column("answered_share", "1", high=1.0, integer=False), packets, _share),
        Derived(Column("byte_rate", "B/s", integer=False), (*sizes, "duration"), _rate),
        Derived(Column("packet_rate", "1/s", integer=False), (*packets, "duration"), _rate),
        Derived(Column("packet_gap", "s", integer=False), (*packets, "duration"), _gap),
    )


def between(start: str, end: str, age: str) -> Derived:
    """The duration in seconds: from one time to another, or an age where one of them is unset."""
    return Derived(Column("duration", "s", integer=False), (start, end, age), _between)


def payload_share(side: str) -> Derived:
    """Payload among the IP bytes of one side, ``fwd`` or ``bwd``: log((payload + 1) / (bytes + 1))."""
    return _ratio(f"{side}_payload_share", f"{side}_payload_bytes", f"{side}_ip_bytes")


def _ratio(name: str, a: str, b: str) -> Derived:
    return Derived(Column(name, "1", low=None, integer=False), (a, b), log_ratio)


def _mean(name: str, size: str, packets: str) -> Derived:
    return Derived(Column(name, "B", integer=False), (size, packets), _per_packet)


def _per_packet(size: Floats, packets: Floats) -> Floats:
    mean: Floats = size / np.maximum(packets, 1)
    return mean


def _between(start: Floats, end: Floats, age: Floats) -> Floats:
    elapsed = end - start
    return np.where(np.isfinite(elapsed) & (elapsed >= 0), elapsed, age)


def _share(fwd: Floats, bwd: Floats) -> Floats:
    share: Floats = bwd / np.maximum(fwd + bwd, 1)
    return share


def _rate(fwd: Floats, bwd: Floats, duration: Floats) -> Floats:
    rate: Floats = (fwd + bwd) / np.maximum(duration, SHORTEST)
    return rate


def _gap(fwd: Floats, bwd: Floats, duration: Floats) -> Floats:
    """Mean pause between two packets."""
    gap: Floats = duration / np.maximum(fwd + bwd - 1, 1)
    return gap
