"""Features that are computed from raw columns: rates, and ratios of sizes and times."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.ratios import Floats, log_ratio

Columns = Mapping[str, NDArray[Any]]  # column name -> (n,) float64, or str objects where it is categorical, "" for none


class Derived(NamedTuple):
    """A feature that is computed from raw columns.

    Attributes:
        needs: the columns.
        formula: (n,) each -> (n,).
    """

    needs: tuple[str, ...]
    formula: Callable[..., NDArray[np.float64]]


def _per_packet(value: Floats, fwd: Floats, bwd: Floats) -> Floats:
    return value / (fwd + bwd + 1)


# Sizes grow with the length of a conversation; ratios do not. They show how the two sides share the work, how regular
# the pauses are, and what a typical packet looks like. Tools differ in these, however much traffic they cause.
_RATIOS: dict[str, Derived] = {
    f"{a}_over_{b}": Derived((a, b), log_ratio)
    for a, b in (
        ("total_fwd_packets", "total_bwd_packets"),
        ("total_length_fwd_packets", "total_length_bwd_packets"),
        ("total_length_fwd_packets", "total_fwd_packets"),
        ("total_length_bwd_packets", "total_bwd_packets"),
        ("fwd_header_length", "total_fwd_packets"),
        ("bwd_header_length", "total_bwd_packets"),
        ("fwd_data_packets", "total_fwd_packets"),
        ("flow_iat_max", "flow_duration"),
        ("flow_iat_std", "flow_iat_mean"),
        ("fwd_iat_max", "fwd_iat_total"),
        ("bwd_iat_max", "bwd_iat_total"),
        ("fwd_iat_total", "flow_duration"),
        ("bwd_iat_total", "flow_duration"),
        ("fwd_iat_mean", "bwd_iat_mean"),
        ("fwd_packet_length_std", "fwd_packet_length_mean"),
        ("bwd_packet_length_std", "bwd_packet_length_mean"),
        ("packet_length_std", "packet_length_mean"),
        ("fwd_packet_length_max", "bwd_packet_length_max"),
        ("active_mean", "flow_duration"),
        ("idle_mean", "flow_duration"),
    )
} | {
    f"{flag}_per_packet": Derived((flag, "total_fwd_packets", "total_bwd_packets"), _per_packet)
    for flag in (
        "fin_flag_count",
        "syn_flag_count",
        "rst_flag_count",
        "psh_flag_count",
        "ack_flag_count",
        "urg_flag_count",
        "fwd_psh_flags",
    )
}


GROUPS: dict[str, tuple[str, ...]] = {"ratios": tuple(_RATIOS)}
"""Names that stand for several derived features."""


# The first two count forward packets only, as published.
DERIVED: dict[str, Derived] = {
    "bytes_per_packet": Derived(
        ("total_length_fwd_packets", "total_fwd_packets"), lambda length, packets: length / (packets + 1e-6)
    ),
    "packets_per_second": Derived(
        ("total_fwd_packets", "flow_duration"), lambda packets, duration: packets / (duration / 1e6 + 1e-6)
    ),
    **_RATIOS,
}


def needs_of(name: str) -> tuple[str, ...]:
    """The raw columns that a raw or derived column is computed from."""
    return DERIVED[name].needs if name in DERIVED else (name,)


def value_of(name: str, columns: Columns) -> NDArray[Any]:
    """(n,) values of a raw or derived column."""
    if name not in DERIVED:
        return columns[name]
    with np.errstate(all="ignore"):  # a duration of -1 us gives Infinity, to be filled like that of the extractor
        return DERIVED[name].formula(*(columns[need] for need in DERIVED[name].needs))
