"""What the 78 features mean: where a flow pauses, and in what an extractor departs from the names of its columns."""

from dataclasses import dataclass

from pipeline.datasets.packets.bricks import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

SECOND = 1_000_000  # microseconds

FLAGS = {"fin": FIN, "syn": SYN, "rst": RST, "psh": PSH, "ack": ACK, "urg": URG, "cwr": CWR, "ece": ECE}
# Column of the original extractor -> the flag that its hash map really counts there.
SHUFFLED_FLAGS = {"fin": RST, "syn": PSH, "rst": ECE, "psh": SYN, "ack": ACK, "urg": FIN, "cwr": URG, "ece": CWR}


@dataclass(frozen=True)
class Faults:
    """Where an extractor does something else than its column names say. None of them is true of the corrected one.

    Source of what is right: Engelen, Rimmer, Joosen, "Troubleshooting an Intrusion Detection Dataset: the CICIDS2017
    Case Study" (2021); Liu, Engelen, Lynar, Essam, Joosen, "Error Prevalence in NIDS Datasets" (2022).

    Attributes:
        first_length_twice: the first packet is counted twice among the packet lengths.
        first_flags_only: only the flags of the first packet count, and nearly each under the name of another.
        no_bulks: all bulk features are 0.
        no_subflows: a record is one subflow, whatever pauses it has.
        whole_ratio: the down/up ratio is cut to a whole number.
        last_window: the backward window is that of the last backward packet, and -1 stands for none.
        first_data_left_out: the first packet does not count among those with data.
        undefined_rates: a rate over no time at all is Infinity or NaN, not 0.
        fin_is_no_activity: a FIN at the end does not count in the active and idle times.
    """

    first_length_twice: bool = False
    first_flags_only: bool = False
    no_bulks: bool = False
    no_subflows: bool = False
    whole_ratio: bool = False
    last_window: bool = False
    first_data_left_out: bool = False
    undefined_rates: bool = False
    fin_is_no_activity: bool = False


CORRECTED = Faults()
ORIGINAL = Faults(*[True] * 9)


@dataclass(frozen=True)
class Pauses:
    """How long a flow may be silent, in microseconds.

    Attributes:
        activity: a longer gap between two packets is idle time; what lies before it is active time.
        subflow: a longer gap between two packets begins a new subflow.
        bulk: a longer gap between two packets with data ends a bulk.
    """

    activity: int = 5 * SECOND
    subflow: int = SECOND
    bulk: int = SECOND


USUAL = Pauses()
