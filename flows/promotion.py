"""The promotion flow: a candidate takes the champion's place where it has earned it, and can be sent back.

::

    python -m flows.promotion [VERSION] [--dry-run]
    python -m flows.promotion --rollback

Candidate and champion judge the same held-out records, those of the test splits that neither was fitted on, and
``pipeline.evaluation.promotion_gate`` decides. Both score the records that arrived last, too, and
``pipeline.evaluation.shadow`` may refuse the candidate for its alarms on them. The decision is kept as a page in
Prefect, as tags and files of the candidate in MLflow, and as a line in ``data/promotions.jsonl``. A concurrency limit
lets one promotion work at a time, and the swap is refused if another version has become champion in the meantime.

A rollback needs neither records nor a Prefect server, and waits for nothing. The version that it sends back is not
promoted again by its alias, which a schedule would do the next night; whoever means it names its number.

The exit code is 0 where the champion is as wished, 3 where the gate refuses, 1 where it could not be decided.
"""

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("promotion")  # help, and what is misspelt, before the imports below, which take seconds

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from prefect import State, flow, runtime
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Completed, Failed

from flows.reports import decisions
from flows.reports.decisions import GATE, Outcome
from flows.runtime import servers
from flows.runtime.own_names import artefact_key, own
from flows.runtime.shown import create_markdown_artifact
from pipeline import config
from pipeline.artifacts.files import encode_json
from pipeline.base import machine
from pipeline.base.errors import ArtifactError, ConflictError, DataError, FlowsculptError
from pipeline.base.escaping import on_terminal, printable
from pipeline.evaluation import promotion_gate
from pipeline.serving import heldout, own_model, registry, shadow, silence
from pipeline.serving.bundle import Bundle
from pipeline.serving.champion import GATE_TIME
from pipeline.serving.trust import keys, verification
from pipeline.serving.version import Version
from pipeline.settings.evaluate import Evaluate
from pipeline.settings.promotion import Rules
from pipeline.settings.retraining import Retraining

LIMIT = "promotion"
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
GATE_REASONS, ROLLED_BACK = (f"flowsculpt.{tag}" for tag in ("gate.reasons", "rolled_back"))
LONGEST_TAG: Final = 4000


class PromotionError(FlowsculptError):
    """A promotion that could not be decided or carried out; ``outcome`` says all."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(f"{outcome.title}: {'; '.join(outcome.reasons)}")


@flow(name="promotion", persist_result=False)
def promotion(version: str = CANDIDATE, dry_run: bool = False, rollback: bool = False) -> State[Any]:
    """Promote a model version if it passes the gate, or go back to the previous one.

    Args:
        version: the version to judge, an alias or a number.
        dry_run: judge it, and move and note nothing.
        rollback: make the previous version the champion again; nothing is judged.
    """
    flow_run = str(runtime.flow_run.id or "")
    if rollback:
        outcome = roll_back(flow_run)
    else:
        with _alone():
            outcome = promote(version, dry_run, flow_run)
    decisions.announce(outcome, dry_run)
    page = decisions.markdown(outcome)
    create_markdown_artifact(page, key=artefact_key("promotion-decision"), description=f"Promotion: {outcome.title}")
    message = printable(f"{outcome.title}: {'; '.join(outcome.reasons)}")
    if outcome.code == decisions.ERROR_CODE:
        return Failed(name=outcome.kind.capitalize(), message=message, data=PromotionError(outcome))
    return Completed(name=outcome.kind.capitalize(), message=message, data=outcome)


@contextmanager
def _alone() -> Iterator[None]:
    """One promotion at a time. The limit is made where it is absent; ``strict`` refuses to go on without it."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):  # made by another one in between
        client.upsert_global_concurrency_limit_by_name(own(LIMIT), 1)
    with concurrency(own(LIMIT), occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield


def promote(version: str = CANDIDATE, dry_run: bool = False, flow_run: str = "") -> Outcome:
    """Judge a version against the champion; where it passes, make it the champion.

    Args:
        version: an alias or a number.
        dry_run: whether to judge only.
        flow_run: the Prefect flow run that asks, for the log.

    Raises:
        FlowsculptError: settings or records of the project are not there or not usable.
    """
    if not dry_run:
        keys.require_promoter()
    rules = config.load(Rules)
    candidate, champion = _find(version), _find(CHAMPION)
    if candidate is None:
        reason = f"no version {version!r} of the model {own_model.name()!r}; a training run registers one as candidate"
        return Outcome("absent", None, champion, (reason,))
    outcome = _without_scores(candidate, champion, version.isdecimal()) or _judged(candidate, champion, rules)
    if dry_run:
        return outcome
    if outcome.kind != "unchanged":
        _note(candidate, outcome)
    if outcome.kind == "passed":
        outcome = _swapped(candidate, outcome)
    with decisions.recorded(outcome):
        decisions.log(outcome, flow_run)
        kind = "promoted" if decisions.is_unrecorded(outcome) else outcome.kind
        if kind in ("promoted", "overtaken"):
            cleared = {ROLLED_BACK: ""} if kind == "promoted" else {}
            registry.note(candidate, {GATE: kind, **cleared}, {})
    return outcome


def roll_back(flow_run: str = "") -> Outcome:
    """Make the previous version the champion again, if it can be read."""
    keys.require_promoter()
    champion, previous = _find(CHAMPION), _find(PREVIOUS)
    if champion is None or previous is None:
        return Outcome("impossible", None, champion, ("no version has the alias previous",))
    try:
        verification.require_previous(previous, champion)
        _load(previous)
    except ArtifactError as error:
        outcome = decisions.unreadable(previous, champion, error)
        decisions.log(outcome, flow_run)
        return outcome
    if champion.number != previous.number:  # else a rollback was interrupted
        registry.note(champion, {ROLLED_BACK: decisions.now()}, {})  # first: or a kill lets the next night promote it
    restored = registry.rollback()
    served = _find(PREVIOUS) or champion
    reason = f"version {restored.number} serves again instead of version {served.number}, as asked"
    outcome = Outcome("rolled back", restored, served, (reason,))
    with decisions.recorded(outcome):
        if served.number != champion.number:  # a promotion came between, or a rollback was interrupted
            registry.note(served, {ROLLED_BACK: decisions.now()}, {})
            registry.note(champion, {ROLLED_BACK: ""}, {})
        decisions.log(outcome, flow_run)
        registry.note(restored, {ROLLED_BACK: ""}, {})
    return outcome


def _find(version: str) -> Version | None:
    return registry.find_version(int(version) if version.isdecimal() else version)


def _without_scores(candidate: Version, champion: Version | None, by_number: bool) -> Outcome | None:
    """What can be decided before anything is read."""
    if champion and champion.digest == candidate.digest:
        reason = f"it is the model of version {champion.number}, which serves, byte for byte"
        return Outcome("unchanged", candidate, champion, (reason,))
    if not by_number and (when := _rolled_back(candidate)):
        reason = f"this model was rolled back at {when}; to judge it all the same, name version {candidate.number}"
        return Outcome("refused", candidate, champion, (reason,))
    return None


def _rolled_back(candidate: Version) -> str:
    """When this version, or the same model under another number, was rolled back; "" where it was not."""
    previous = _find(PREVIOUS)
    same = [candidate, previous] if previous and previous.digest == candidate.digest else [candidate]
    return next((when for each in same if (when := each.tags.get(ROLLED_BACK, ""))), "")


def _judged(candidate: Version, champion: Version | None, rules: Rules) -> Outcome:
    """``passed`` or ``refused`` by the gate, or why it did not come to that."""
    versions = [each for each in (candidate, champion) if each]
    try:
        if champion:
            verification.require(champion, CHAMPION)
        bundles = [_load(each) for each in versions]
        if champion:
            heldout.require_same_kind(*bundles)
        for version, bundle in zip(versions, bundles, strict=True):
            _check(version, bundle, rules.threshold)
        silence.admit(bundles[0], candidate)
    except ArtifactError as error:
        return decisions.unreadable(candidate, champion, error, decisions.way_out(champion))
    except DataError as error:
        return Outcome("refused", candidate, champion, (str(error),))
    selection = heldout.with_drills(heldout.select(bundles), bundles, config.load(Evaluate).drills)
    if short := selection.heldout.shortage(rules):
        reason = f"{short}; {selection.left_out:,} were left out, as a model was fitted on them"
        return Outcome("refused", candidate, champion, (reason,), None, selection.counts, selection.digest)
    decision = _decide(selection, bundles, rules)
    by_number = {version.number: bundle for version, bundle in zip(versions, bundles, strict=True)}
    live = shadow.run(by_number, rules, config.load(Retraining).alarms)
    kind: decisions.Kind = "refused" if live.refusal or not decision.passed else "passed"
    reasons = (*live.reasons(decision), *selection.notes)
    return Outcome(kind, candidate, champion, reasons, decision, selection.counts, selection.digest, live)


def _decide(selection: heldout.Selection, bundles: Sequence[Bundle], rules: Rules) -> promotion_gate.Decision:
    candidate, *champion = heldout.predict(selection, bundles, rules.threshold)
    judged = dict(zip(("the candidate", "the champion"), (candidate, *champion), strict=False))
    if champion:
        decision = promotion_gate.compare(selection.heldout, candidate, champion[0], rules)
    else:
        decision = promotion_gate.admit(selection.heldout, candidate, rules)
    return replace(decision, notes=(*decision.notes, *heldout.without_context(judged)))


def _load(version: Version) -> Bundle:
    """The bundle of a version.

    Raises:
        ArtifactError: it is absent, was changed, or is not what a trusted key signed.
    """
    digest, folder = verification.model_of(version).digest, registry.fetch(version)
    try:
        return Bundle.load(folder, digest=digest)
    except ArtifactError as error:
        raise type(error)(f"version {version.number}: {error}") from error


def _check(version: Version, bundle: Bundle, threshold: str) -> None:
    try:
        heldout.check(bundle, threshold)
    except DataError as error:
        raise type(error)(f"version {version.number}: {error}") from error


def _note(candidate: Version, outcome: Outcome) -> None:
    """Write the decision on the candidate's page in the registry."""
    time, reasons = decisions.now(), "; ".join(outcome.reasons)[:LONGEST_TAG]
    stem = f"gate/{time.replace(':', '')}"
    files = {
        f"{stem}.md": decisions.markdown(outcome),
        f"{stem}.json": encode_json(decisions.figures(outcome) | decisions.differences(outcome)).decode(),
    }
    metrics = outcome.shadow.metrics() if outcome.shadow else {}
    registry.note(candidate, {GATE: outcome.kind, GATE_TIME: time, GATE_REASONS: reasons}, files, metrics)


def _swapped(candidate: Version, outcome: Outcome) -> Outcome:
    """Make the candidate the champion, if the champion is still the one that it was compared with."""
    try:
        promoted = registry.promote(candidate, outcome.champion)
    except ConflictError as error:
        return replace(outcome, kind="overtaken", reasons=(str(error),))
    return replace(outcome, kind="promoted", candidate=promoted)


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Promote or roll back from the command line; returns the exit code."""
    given = arguments.parse("promotion", options)
    try:
        with machine.refusals():
            outcome = roll_back() if given.rollback else _promoted(given.version, given.dry_run)
    except FlowsculptError as error:
        print(f"promotion: {error}", file=sys.stderr)
        return decisions.ERROR_CODE
    except KeyboardInterrupt:
        print("promotion: interrupted", file=sys.stderr)
        return 130
    print(on_terminal(decisions.markdown(outcome)))
    return outcome.code


def _promoted(version: str, dry_run: bool) -> Outcome:
    with servers.connected("promotion"):
        state = promotion(version, dry_run, return_state=True)
    done: Any = state.result(raise_on_failure=False)
    if isinstance(done, PromotionError):
        return done.outcome
    if isinstance(done, Exception):
        raise done
    return done  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
