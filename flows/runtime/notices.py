"""The notifications that people get: of which events, and in which words.

Each notice has an entry of its name in the run-book. Its words are a Jinja template, which Prefect's server fills in:
what happened, where, and what to do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flows.runtime import events

FLOW_RUN: Final = "prefect.flow-run.*"
STATE: Final = "prefect.state-type"
LONGEST: Final = 1_000  # characters of a reason
LATE: Final = "prefect.flow-run.Late"
HEARTBEAT: Final = "prefect.flow-run.heartbeat"  # which each run sends every three minutes, as Prefect is shipped
STARTS: Final = ("Pending", "Running", "Completed", "Failed", "Crashed", "Cancelling", "Cancelled", "Paused")
_RUN: Final = """{{ event.resource['prefect.state-message'] | default('%s', true) | truncate(%d) }}

Where: flow run {{ flow_run.name }} of the deployment {{ deployment.name }}{%% if flow_run | ui_url %%}, \
{{ flow_run | ui_url }}{%% endif %%}
"""
_OURS: Final = """{{ event.payload.reason | truncate(%d) }}

Where: model {{ event.payload.model }}, on the machine {{ event.payload.host }}
"""
# Slack takes <https://x|y> as a link; & < > are all that it wants escaped.
_FOR_SLACK: Final = (
    "{%% filter replace('&', '&amp;') | replace('<', '&lt;') | replace('>', '&gt;') %%}%s{%% endfilter %%}"
)


@dataclass(frozen=True)
class Notice:
    """One kind of notification.

    Attributes:
        name: of its automation, and of its entry in the run-book.
        title: what happened, in a few words.
        expects: names of events.
        labels: that the resource of an event must have.
        is_of_runs: whether it is about flow runs, and not about an event of this project.
        followed: events of the same run that must follow in time; a notification comes where none does.
        words: what is said where the event has no message of its own.
    """

    name: str
    title: str
    expects: frozenset[str]
    labels: Mapping[str, str]
    is_of_runs: bool = False
    followed: frozenset[str] = frozenset()
    words: str = ""

    def subject(self, model: str) -> str:
        """The first line."""
        return f"{model}: {self.title}"

    def body(self, run_book: str, channel: str = "") -> str:
        """The template of all others; it ends with the address of the entry in the run-book.

        Names of files and hosts come from strangers, so they must be no markup where the channel knows any.
        """
        where = _RUN % (self.words, LONGEST) if self.is_of_runs else _OURS % LONGEST
        words = f"{where}\nWhat to do: {run_book}#{self.name}"
        return _FOR_SLACK % words if channel == "slack" else words


def _of_runs(name: str, title: str, state: str) -> Notice:
    """Of flow runs that end in a state of this type, whatever it is called."""
    return Notice(name, title, frozenset({FLOW_RUN}), {STATE: state}, is_of_runs=True)


def _of_missing(name: str, title: str, expects: str, followed: Iterable[str], words: str) -> Notice:
    """Of a flow run that has one event, and none of those that should follow."""
    return Notice(name, title, frozenset({expects}), {}, True, frozenset(followed), words)


def _of_events(name: str, title: str, *expects: str, cause: str = "") -> Notice:
    return Notice(name, title, frozenset(expects), {events.CAUSE: cause} if cause else {})


TEST: Final = _of_events("test", "a test of notifications", events.TEST)
NOTICES: Final = (
    _of_runs("run-failed", "a run failed", "FAILED"),
    _of_runs("run-crashed", "the process of a run died", "CRASHED"),
    _of_missing(
        *("run-late", "a run does not start", LATE, [f"prefect.flow-run.{state}" for state in STARTS]),
        "It was due, and has not started.",
    ),
    _of_missing("run-lost", "a run gives no sign of life", HEARTBEAT, [FLOW_RUN], "It has not ended, and is silent."),
    _of_events("model-silent", "the model is silent", events.SILENT, events.REFUSED, cause=events.IS_SILENT),
    _of_events("model-refused", "no trusted key vouches for a model", events.REFUSED, cause=events.UNTRUSTED),
    _of_events("alarms-surge", "far more alarms than promised", events.DRIFT["attacks"]),
    _of_events("network-unknown", "the model does not know this traffic", events.DRIFT["unknown"]),
    _of_events("training-asked-for", "traffic has drifted", events.DRIFT["train"]),
    _of_events("file-quarantined", "files cannot be scored", events.QUARANTINED),
    _of_events("promotion-refused", "the gate refuses a model", events.NOT_PROMOTED),
    TEST,
)
