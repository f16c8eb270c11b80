"""What became of a candidate, for people, and as a line in the log of promotions that is only appended to.

Each line of the log says which version of which model serves after it. Where the next decision finds another one, an
alias was moved by other means, or a process was killed between the swap and its line: a line ``found`` then says so
first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from flows.reports import live
from flows.runtime import events, refusals
from pipeline.artifacts.files import read_lines
from pipeline.base import machine
from pipeline.base.errors import ArtifactError, FlowsculptError, SilentModelError, TrustError
from pipeline.base.escaping import in_code, in_markdown, strong, table
from pipeline.evaluation.promotion_gate import Criterion, Decision
from pipeline.serving import own_model
from pipeline.serving.shadow import Shadow
from pipeline.serving.trust import chain, verification
from pipeline.serving.version import Version
from pipeline.settings.tracking import SHIPPED

Kind = Literal[
    "promoted", "passed", "unchanged", "rolled back", "refused", "overtaken", "absent", "unreadable", "impossible"
]

MEANING: Final[Mapping[Kind, str]] = {
    "promoted": "the candidate is the champion now",
    "passed": "the candidate passes the gate; as this was a dry run, nothing was moved",
    "unchanged": "the candidate is the champion already, nothing was moved",
    "rolled back": "the previous model is the champion again",
    "refused": "the candidate is not promoted, the champion stays",
    "overtaken": "the champion changed while the candidate was judged; nothing was moved, promote again to judge anew",
    "absent": "there is no such version, nothing was moved",
    "unreadable": "a model cannot be read or is not the one that was registered, nothing was moved",
    "impossible": "there is nothing to go back to, nothing was moved",
}
NOTE: Final = (
    "Alarms are those at {}, where a line names no other threshold. Differences of shares are in percentage points. "
    "Each bound holds with a probability of {:g} %."
)
DONE: Final = ("promoted", "passed", "unchanged", "rolled back")
REFUSED_CODE, ERROR_CODE = 3, 1
GATE: Final = "flowsculpt.gate"  # the tag of a version that says what became of it


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    Attributes:
        kind: see ``MEANING``.
        candidate: the version that was judged, or rolled back to.
        champion: the one that served before.
        reasons: why, in words.
        decision: every figure, where it came to that.
        records: how many held-out records of each kind there were, and how many were left out.
        records_digest: which they were.
        shadow: what both models said of the records that arrived last.
        is_distrusted: whether a model was refused because no trusted key vouches for it, or because it is silent.
        is_silent: whether it was refused because it is silent.
    """

    kind: Kind
    candidate: Version | None
    champion: Version | None
    reasons: tuple[str, ...]
    decision: Decision | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    records_digest: str = ""
    shadow: Shadow | None = None
    is_distrusted: bool = False
    is_silent: bool = False

    @property
    def code(self) -> int:
        """Exit code of the program."""
        if self.kind in DONE:
            return 0
        return REFUSED_CODE if self.kind == "refused" else ERROR_CODE

    @property
    def serving(self) -> int | None:
        """The version that serves after it."""
        after = self.candidate if self.kind in ("promoted", "rolled back") else self.champion
        return after.number if after else None

    @property
    def title(self) -> str:
        """The outcome on one line."""
        who = str(self.candidate) if self.candidate else "no candidate"
        return f"{who}: {self.kind}"


def unreadable(
    candidate: Version, champion: Version | None, error: ArtifactError, more: tuple[str, ...] = ()
) -> Outcome:
    """The outcome where a model cannot be read, or no trusted key vouches for it."""
    outcome = Outcome("unreadable", candidate, champion, (str(error), *more))
    return replace(outcome, is_distrusted=isinstance(error, TrustError), is_silent=isinstance(error, SilentModelError))


def announce(outcome: Outcome, dry_run: bool) -> None:
    """Raise the event of a promotion that refused a model: for its signature, its canaries, or by the gate."""
    reasons = "; ".join(outcome.reasons)
    if outcome.is_distrusted:
        refusals.refused(reasons, outcome.is_silent)
    elif outcome.kind == "refused" and not dry_run:
        events.announce(events.NOT_PROMOTED, reasons, outcome.candidate.number if outcome.candidate else None)


def way_out(champion: Version | None) -> tuple[str, ...]:
    """What to do where it is the champion that cannot be read, which would stop every promotion."""
    if champion is None:
        return ()
    return (
        "if it is the champion: go back with `flowsculpt rollback`, or take the alias "
        f"champion from version {champion.number}, and the next candidate is judged as a first model",
    )


@contextmanager
def recorded(outcome: Outcome) -> Iterator[None]:
    """Say of an error that comes after the aliases were moved that they were, so that nobody moves them twice.

    Raises:
        ArtifactError: the log or the registry did not take the record of what was done.
    """
    try:
        with machine.refusals():
            yield
    except FlowsculptError as error:
        if outcome.kind not in ("promoted", "rolled back"):
            raise
        said = f"version {outcome.serving} serves now, and only the record of that is not complete"
        raise ArtifactError(f"{said}: {error}; the next decision completes it") from error


def is_unrecorded(outcome: Outcome) -> bool:
    """Whether a version that serves was promoted by a process that was killed before it noted that."""
    candidate, champion = outcome.candidate, outcome.champion
    is_same = candidate is not None and champion is not None and candidate.number == champion.number
    return outcome.kind == "unchanged" and is_same and candidate.tags.get(GATE) == "passed"  # type: ignore[union-attr]


def log(outcome: Outcome, flow_run: str) -> None:
    """Append the line of an outcome, and before it what was found where the champion is not the one last logged.

    Both lines are signed; ``trust.chain`` says how they hang together.

    Raises:
        TrustError: there is no key to sign with.
        ArtifactError: the log cannot be written.
    """
    model = own_model.name()
    lines = [line for line in read_lines(chain.place()) if line.get("model", SHIPPED) == model]
    before = outcome.champion.number if outcome.champion else None
    if outcome.kind != "overtaken" and before != (lines[-1].get("serving") if lines else None):
        reason = f"version {before} is the champion, which no line of this log made it"
        found = _line(chain.FOUND, None, outcome.champion, (reason,), flow_run, before)
        chain.append(found | _promotion(outcome.champion))
    line = _line(outcome.kind, outcome.candidate, outcome.champion, outcome.reasons, flow_run, outcome.serving)
    by = _promotion(outcome.candidate) if outcome.kind in chain.MADE_TO_SERVE else {}
    chain.append(line | figures(outcome) | by, by.get("promotion", 0))


def _promotion(version: Version | None) -> dict[str, int]:
    """The number of the signed decision that made a version serve, if one did."""
    number = verification.sequence_of(version) if version else 0
    return {"promotion": number} if number else {}


def figures(outcome: Outcome) -> dict[str, Any]:
    """The numbers of an outcome, as JSON has them."""
    criteria = (
        [asdict(each) | {"decides": each.decides} for each in outcome.decision.criteria] if outcome.decision else []
    )
    seen = {"shadow": outcome.shadow.figures()} if outcome.shadow else {}
    return {"records": {**outcome.records}, "records_digest": outcome.records_digest, "criteria": criteria, **seen}


def differences(outcome: Outcome) -> dict[str, Any]:
    """Where the two models differ on live traffic, as JSON has it."""
    return {"differences": outcome.shadow.differences.figures(live.MOST)} if outcome.shadow else {}


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(
    kind: str,
    candidate: Version | None,
    champion: Version | None,
    reasons: tuple[str, ...],
    flow_run: str,
    serving: int | None,
) -> dict[str, Any]:
    return {
        "time": now(),
        "model": own_model.name(),
        "decision": kind,
        "candidate": candidate.number if candidate else None,
        "champion": champion.number if champion else None,
        "serving": serving,
        "reasons": list(reasons),
        "digests": {
            "candidate": candidate.digest if candidate else None,
            "champion": champion.digest if champion else None,
        },
        "flow_run": flow_run,
    }


# For people.


def markdown(outcome: Outcome) -> str:
    """A page: what was decided, why, and every figure that it rests on."""
    parts = [
        f"# Promotion: {in_markdown(outcome.title)}",
        f"**{MEANING[outcome.kind].capitalize()}.**",
        "\n".join(f"- {in_markdown(reason)}" for reason in outcome.reasons),
        _models(outcome),
        _records(outcome),
        _table(outcome.decision) if outcome.decision else "",
        live.markdown(outcome.shadow) if outcome.shadow else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(outcome: Outcome) -> str:
    role = "champion now" if outcome.kind == "rolled back" else "candidate"
    rows = [("champion before", outcome.champion), (role, outcome.candidate)]
    lines = [[role, str(each.number), each.digest[:12], each.run_id] for role, each in rows if each]
    return table(["model", "version", "digest", "MLflow run"], lines) if lines else ""


def _records(outcome: Outcome) -> str:
    if not outcome.records:
        return ""
    counts = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in outcome.records.items())
    digest = in_code(outcome.records_digest)
    return f"Held-out records: {counts} because a model was fitted on them. Their digest is {digest}."


def _table(decision: Decision) -> str:
    """What decides as a list, as Prefect's page cuts off wide tables; then every figure as a table."""
    deciding = [line for line in decision.criteria if line.decides]
    asked = "\n".join(f"- {_verdict(line)}: {in_markdown(f'{line.name}, {line.rule}')}" for line in deciding)
    has_champion = any(line.champion is not None for line in decision.criteria)
    columns = ["criterion", "records", "champion", "candidate", "difference", "bounds"]
    rows = [dict(zip(columns, _row(line), strict=True)) for line in decision.criteria]
    names = [name for name in columns if has_champion or name not in ("champion", "difference")]
    ruled = ["---" if name in ("criterion", "bounds") else "---:" for name in names]
    figures = table(names, [[row[name] for name in names] for row in rows], ruled)
    note = NOTE.format(in_markdown(decision.threshold), 100 * decision.level)
    return f"## What is asked\n\n{asked}\n\n## Figures\n\n{figures}\n\n{note}"


def _verdict(line: Criterion) -> str:
    return "passed" if line.passed else strong("failed")


def _row(line: Criterion) -> list[str]:
    champion = "-" if line.champion is None else _figure(line, line.champion)
    if line.difference is None:
        difference, bounds = "-", f"{_figure(line, line.low)} to {_figure(line, line.high)}"
    else:
        difference, bounds = _gap(line, line.difference), f"{_gap(line, line.low)} to {_gap(line, line.high)}"
    return [line.name, f"{line.n:,}", champion, _figure(line, line.candidate), difference, bounds]


def _figure(line: Criterion, value: float) -> str:
    return f"{100 * value:.2f} %" if line.is_share else f"{value:.4f}"


def _gap(line: Criterion, value: float) -> str:
    return f"{100 * value:+.2f}" if line.is_share else f"{value:+.4f}"
