"""Identities between the features of a record, as residuals that are 0 where the identity holds.

The definitions are those of CICFlowMeter (Lashkari, Draper-Gil, Mamun, Ghorbani, "Characterization of Tor Traffic using
Time based Features", 2017); where the published and the corrected release (Engelen, Rimmer, Joosen, "Troubleshooting an
Intrusion Detection Dataset: the CICIDS2017 Case Study", 2021) differ, either is accepted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.schema import Column

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Identity:
    """A relation between the features of one record.

    Attributes:
        name: the relation in words, unique.
        columns: the features that it relates, in the order of the arguments of ``residual``.
        residual: the columns, (n,) each -> (n,), relative distance from the identity, 0 where it does not apply.
        hard: whether it holds by arithmetic, whatever the extractor does.
    """

    name: str
    columns: tuple[str, ...]
    residual: Callable[..., Array]
    hard: bool = False


def residuals(features: Mapping[str, Array], identities: Sequence[Identity]) -> dict[str, Array]:
    """(n,) residuals of each identity by its name; 0 where an operand is undefined: other rules look at that."""
    with np.errstate(all="ignore"):
        return {
            identity.name: np.nan_to_num(identity.residual(*(features[name] for name in identity.columns)), nan=0.0)
            for identity in identities
        }


def gap(left: Array, right: Array) -> Array:
    """How far ``left == right`` is missed, relative to the larger of both and 1."""
    result: Array = np.abs(left - right) / np.maximum(np.maximum(np.abs(left), np.abs(right)), 1.0)
    return result


def excess(left: Array, right: Array, scale: Array | float = 1.0) -> Array:
    """How far ``left <= right`` is missed, relative to the largest of both, ``scale`` and 1."""
    size = np.maximum(np.maximum(np.abs(left), np.abs(right)), np.maximum(scale, 1.0))
    result: Array = np.maximum(left - right, 0.0) / size
    return result


def largest(*parts: Array) -> Array:
    """The worst of several residuals."""
    result: Array = np.maximum.reduce(parts)
    return result


def where(applies: NDArray[np.bool_], residual: Array) -> Array:
    """``residual`` where the identity applies, 0 elsewhere."""
    return np.where(applies, residual, 0.0)


def _ordered(group: str) -> Identity:
    columns = tuple(f"{group}_{statistic}" for statistic in ("min", "mean", "max"))
    return Identity(
        f"{group}: min <= mean <= max",
        columns,
        lambda low, mean, high: largest(excess(low, mean), excess(mean, high)),
        hard=True,
    )


def _spread(group: str) -> Identity:
    columns = tuple(f"{group}_{statistic}" for statistic in ("std", "min", "max"))
    # A sample standard deviation is largest for two values, where it is the range over sqrt(2).
    return Identity(
        f"{group}: std <= (max - min) / sqrt(2)",
        columns,
        lambda std, low, high: excess(std, (high - low) / np.sqrt(2.0), scale=np.abs(high)),
    )


def _rate(name: str, *counts: str) -> Identity:
    def residual(rate: Array, duration: Array, *counted: Array) -> Array:
        return where(duration > 0, gap(rate, sum(counted, np.zeros_like(rate)) / duration * 1e6))  # duration in us

    return Identity(f"{name} = {' + '.join(counts)} per second", (name, "flow_duration", *counts), residual)


def _equal(left: str, right: str, hard: bool = False) -> Identity:
    return Identity(f"{left} = {right}", (left, right), gap, hard)


def _at_most(left: str, right: str) -> Identity:
    return Identity(f"{left} <= {right}", (left, right), excess)


def _total(mean: str, count: str, total: str, gaps: bool = False) -> Identity:
    def residual(mean: Array, count: Array, total: Array) -> Array:
        terms = count - gaps
        return where(terms > 0, gap(mean * terms, total))

    terms = f"({count} - 1)" if gaps else count
    return Identity(f"{mean} * {terms} = {total}", (mean, count, total), residual, hard=not gaps)


def _mean_packet_length(mean: Array, low: Array, high: Array, fwd: Array, bwd: Array, *sizes: Array) -> Array:
    # The published extractor counts the first packet twice: mean * (packets + 1) exceeds the total by one packet.
    first = mean * (fwd + bwd + 1) - sum(sizes)
    once = gap(mean * (fwd + bwd), sizes[0] + sizes[1])
    return np.minimum(once, largest(excess(low, first, scale=sum(sizes)), excess(first, high, scale=sum(sizes))))


def _mean_packet_size(size: Array, mean: Array, fwd: Array, bwd: Array) -> Array:
    # The published extractor divides the sum with the first packet twice by the true number of packets.
    return np.minimum(gap(size, mean), gap(size * (fwd + bwd), mean * (fwd + bwd + 1)))


def _down_up(ratio: Array, fwd: Array, bwd: Array) -> Array:
    # The published extractor divides integers, so it writes the floor of the ratio.
    return where(fwd > 0, np.minimum(gap(ratio, bwd / fwd), gap(ratio, np.floor(bwd / fwd))))


_FLAGS = tuple(f"{flag}_flag_count" for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "cwr", "ece"))
_PACKETS = ("total_fwd_packets", "total_bwd_packets")
_BYTES = ("total_length_fwd_packets", "total_length_bwd_packets")

IDENTITIES: tuple[Identity, ...] = (
    _equal("fwd_header_length_repeated", "fwd_header_length", hard=True),
    *(
        rule(group)
        for rule in (_ordered, _spread)
        for group in ("fwd_packet_length", "bwd_packet_length", "packet_length", "flow_iat", "fwd_iat", "bwd_iat")
    ),
    *(rule(group) for rule in (_ordered, _spread) for group in ("active", "idle")),
    Identity(
        "packet_length_variance = packet_length_std ^ 2",
        ("packet_length_variance", "packet_length_std"),
        lambda variance, std: gap(variance, std**2),
        hard=True,
    ),
    _total("fwd_packet_length_mean", "total_fwd_packets", "total_length_fwd_packets"),
    _total("bwd_packet_length_mean", "total_bwd_packets", "total_length_bwd_packets"),
    _total("fwd_iat_mean", "total_fwd_packets", "fwd_iat_total", gaps=True),
    _total("bwd_iat_mean", "total_bwd_packets", "bwd_iat_total", gaps=True),
    Identity(
        "flow_iat_mean * (packets - 1) = flow_duration",
        ("flow_iat_mean", "flow_duration", *_PACKETS),
        lambda mean, duration, fwd, bwd: where(fwd + bwd > 1, gap(mean * (fwd + bwd - 1), duration)),
    ),
    Identity(
        "packet_length_mean = bytes / packets",
        ("packet_length_mean", "packet_length_min", "packet_length_max", *_PACKETS, *_BYTES),
        _mean_packet_length,
    ),
    Identity(
        "packet_size_mean = bytes / packets", ("packet_size_mean", "packet_length_mean", *_PACKETS), _mean_packet_size
    ),
    _equal("fwd_segment_size_mean", "fwd_packet_length_mean"),
    _equal("bwd_segment_size_mean", "bwd_packet_length_mean"),
    Identity(
        "packet_length_max = the larger of both directions",
        ("packet_length_max", "fwd_packet_length_max", "bwd_packet_length_max"),
        lambda high, fwd, bwd: gap(high, np.maximum(fwd, bwd)),
    ),
    _rate("flow_bytes_per_s", *_BYTES),
    _rate("flow_packets_per_s", *_PACKETS),
    _rate("fwd_packets_per_s", "total_fwd_packets"),
    _rate("bwd_packets_per_s", "total_bwd_packets"),
    Identity("down_up_ratio = bwd packets / fwd packets", ("down_up_ratio", *_PACKETS), _down_up),
    *(_at_most(name, "flow_duration") for name in ("fwd_iat_total", "bwd_iat_total", "flow_iat_max")),
    *(_at_most(name, "flow_duration") for name in ("active_max", "idle_max")),
    _at_most("subflow_fwd_packets", "total_fwd_packets"),
    _at_most("subflow_bwd_packets", "total_bwd_packets"),
    _at_most("subflow_fwd_bytes", "total_length_fwd_packets"),
    _at_most("subflow_bwd_bytes", "total_length_bwd_packets"),
    _at_most("fwd_data_packets", "total_fwd_packets"),
    Identity(
        "no flag on more packets than there are",
        (*_PACKETS, *_FLAGS),
        lambda fwd, bwd, *flags: excess(np.maximum.reduce(flags), fwd + bwd),
    ),
    Identity("at least one packet", _PACKETS, lambda fwd, bwd: excess(np.ones_like(fwd), fwd + bwd)),
)


def whole_numbers(columns: Sequence[Column]) -> Identity:
    """That counts are whole numbers."""
    names = tuple(column.name for column in columns if column.integer)

    def residual(*counts: Array) -> Array:
        return largest(*((np.abs(count - np.rint(count)) > 0).astype(np.float64) for count in counts))

    return Identity("counts are whole numbers", names, residual)


def identities(columns: Sequence[Column]) -> tuple[Identity, ...]:
    """The identities between ``columns``: none where a feature of it is absent, say in another data set."""
    known = {column.name for column in columns}
    counts = (whole_numbers(columns),) if any(column.integer for column in columns) else ()
    return (*(identity for identity in IDENTITIES if known.issuperset(identity.columns)), *counts)
