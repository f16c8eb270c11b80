"""The kind of a reason: what it is about, coarsely, so that alerts of one cause have the same.

The feature ``syn_flag_count`` is about ``flags``. The number of ports that the source of a record has asked is about
``source ports``. A column that is about nothing of the sort, as in a table of other records, is a kind of its own.
"""

import re
from typing import Final

from pipeline.preprocessing.context.past import GAP_COLUMNS, SIDES

COLUMNS: Final = {  # kind -> what the names of its columns look like; the first that fits
    "port": re.compile(r"(^|_)port(_|$)"),
    "flags": re.compile(r"flag|(^|_)(fin|syn|rst|psh|ack|urg|cwr|ece)(_|$)|history|state"),
    "rate": re.compile(r"per_s(econd)?$|rate"),
    "timing": re.compile(r"iat|duration|active|idle|time|gap"),
    "size": re.compile(r"byte|length|size|segment|win_|header|payload|load"),
    "packets": re.compile(r"packet|pkts|bulk"),
}
PAST: Final = {  # what is counted of the recent past of a host -> what that is about
    **dict.fromkeys(("ports", "port_entropy"), "ports"),
    **dict.fromkeys(("records", "sent", "received"), "volume"),
    **dict.fromkeys(GAP_COLUMNS, "timing"),
    "hosts": "hosts",
    "failed_share": "failures",
}


def of_column(name: str) -> str:
    """The kind of a reason that a column of a record gives: one of a few words, or the name of the column."""
    return next((kind for kind, looks in COLUMNS.items() if looks.search(name)), name)


def all_of_past() -> list[str]:
    """The kinds of all reasons that the recent past can give: gaps are those of a pair, which has no further hosts."""
    return [
        *dict.fromkeys(
            of_past(side, what)
            for side in SIDES
            for what in PAST
            if (what != "hosts" if side == "pair" else what not in GAP_COLUMNS)
        )
    ]


def of_past(side: str, what: str) -> str:
    """The kind of a reason that the recent past gives, such as ``source ports``."""
    return f"{side} {PAST[what]}"
