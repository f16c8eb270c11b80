"""All that the page works with: alerts and marks as they are now, and the one way to write a mark."""

import threading
import time
from typing import Any, Final

from flows.triage import models, views
from flows.triage.champion import Champion
from flows.triage.forms import Form, one
from flows.triage.index import Index, Snapshot
from flows.triage.marks import Marks, Said
from flows.triage.models import Summaries
from flows.triage.sessions import Session
from pipeline.artifacts.labels import BENIGN, UNSURE
from pipeline.base import escaping
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.datasets.vocabulary import VOCABULARY
from pipeline.serving import analyst, labelling
from pipeline.serving.analyst import LONGEST_NOTE, Verdict, Written
from pipeline.serving.counts import counted

LOG: Final = escaping.log("flowsculpt")
MOST: Final = 5_000  # records that are marked at once
SECONDS: Final = 1.0  # between two looks at the disk
ATTACK, TAKE_BACK = "attack", "undo"  # what a form may ask for, beside benign and unsure


class Desk:
    """Alerts and marks; ``follow`` keeps them as they are on the disk."""

    def __init__(self) -> None:
        self.index, self.marks = Index(), Marks()
        self.summaries, self.champion = Summaries(), Champion()
        self.fault = ""  # why the newest alerts cannot be read

    def now(self) -> tuple[Snapshot, Said]:
        """Alerts as they were read last, and marks as they lie on the disk."""
        return self.index.now, self.marks.now()

    def refresh(self) -> None:
        """Read what is new; what cannot be read is said on the pages."""
        try:
            if self.index.refresh():
                self.model()  # so that nobody has to wait for it
            self.fault = ""
        except FlowsculptError as error:
            self.fault = str(error)
        except Exception as error:  # or nobody would follow from here on, and no page would say so
            LOG.exception("alerts cannot be read")
            self.fault = f"{type(error).__name__}: {error}"

    def follow(self, stopped: threading.Event) -> None:
        """Read what is new until ``stopped`` is set, and rest four times as long as that takes."""
        took = 0.0
        while not stopped.wait(max(SECONDS, 4 * took)):
            start = time.monotonic()
            self.refresh()
            took = time.monotonic() - start

    def attacks(self) -> list[str]:
        """Names that a mark may give, those that were given most often first."""
        said = self.marks.now().last.values()
        given = [label.attack for label in said if label.decides and label.attack != BENIGN]
        often = sorted({*given}, key=lambda name: (-given.count(name), name))
        return [*often, *sorted(VOCABULARY - {*often, BENIGN})]

    def model(self) -> dict[str, Any]:
        """What each model did, and the card of the one that was trained last."""
        return {"rates": models.versions(self.summaries.now(), *self.now()), "card": models.card()}

    def mark(self, session: Session, form: Form) -> tuple[str, str]:
        """Do what a form asks for; returns its tone and a sentence. The marks are on the disk by then.

        Raises:
            FlowsculptError: nothing was written.
        """
        what = one(form, "what")
        wanted = self._records(session, form)
        if what == TAKE_BACK:
            written = analyst.take_back(wanted, session.name)
            session.last = ()
            return _taken(written)
        attack = {ATTACK: one(form, "name"), BENIGN: BENIGN, UNSURE: UNSURE}.get(what)
        if attack is None:
            raise ConfigError(f"a mark is {ATTACK}, {BENIGN}, {UNSURE} or {TAKE_BACK}, given {what!r}")
        if not attack:
            raise ConfigError("give the attack a name, such as port_scan")
        written = self._write(session, wanted, attack, _note(form), bool(one(form, "new")))
        session.last = tuple(label.record_id for label in written.labels)
        return _marked(written)

    def _records(self, session: Session, form: Form) -> list[int]:
        """The records that a form is about.

        Raises:
            ConfigError: there are none, or too many.
        """
        if one(form, "last"):
            wanted = [*session.last]
        else:
            records = [labelling.number_of(each) for each in form.get("record", ())]
            wanted = views.selected(self.index.now, form.get("alert", ()), form.get("incident", ()), records)
        if not wanted:
            raise ConfigError("choose an alert first; x chooses the one under the cursor")
        if len(wanted) > MOST:
            raise ConfigError(f"at most {MOST:,} alerts are marked at once, given {len(wanted):,}; narrow the filter")
        return wanted

    def _write(self, session: Session, wanted: list[int], attack: str, note: str, is_new: bool) -> Written:
        try:
            said = [Verdict(f"{number:016x}", attack, session.name, note) for number in wanted]
            return analyst.write(said, is_new, skip_absent=True)
        except ConfigError as error:
            hint = "; tick “new name” to take it as the name of a new one"
            raise ConfigError(str(error).replace("; --new takes it as the name of a new one", hint)) from error


def _note(form: Form) -> str:
    note = one(form, "note")
    if len(note) > LONGEST_NOTE:
        raise ConfigError(f"a note has at most {LONGEST_NOTE:,} characters, given {len(note):,}")
    return note


def _marked(written: Written) -> tuple[str, str]:
    n, absent = len(written.labels), len(written.absent)
    one, many = "was not marked, because its raw columns were", "were not marked, because their raw columns were"
    gone = f" {counted(absent, one, many)} not kept." if absent else ""
    if not n:
        return "bad", f"Nothing was marked.{gone}"
    disputed = "".join(f" People disagree on {sentence}." for sentence in written.disputed[:3])
    said = f"{counted(n, 'alert')} marked {written.labels[0].attack}.{gone}{disputed}"
    return ("warn" if absent or disputed else "good"), said


def _taken(written: Written) -> tuple[str, str]:
    n = len(written.labels)
    if not n:
        return "bad", "Nothing was taken back: you have no mark on these records."
    return "good", f"{counted(n, 'mark')} taken back."
