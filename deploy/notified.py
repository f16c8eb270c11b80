"""That notifications come: of a run that fails, of a file that cannot be scored, and of a model that nobody signed."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy import objects
from deploy.receiver import Sink
from deploy.tried import require
from deploy.visitor import Visitor, until

PATIENCE: Final = 240.0  # seconds for a notification to come
NO_RECORDS: Final = "a,b\n1,2\n"


def trials(visitor: Visitor, sink: Sink) -> Mapping[str, Callable[[], str]]:
    """What is tried: what happens, in words -> a function that makes it happen and says what came.

    Args:
        visitor: of the stack.
        sink: gets the notifications.
    """
    return {
        "a run fails": partial(_failed, visitor, sink),
        "a file is put into quarantine": partial(_quarantined, visitor, sink),
        "a model that nobody signed is refused": partial(_refused, visitor, sink),
    }


def wait_for(sink: Sink, title: str, word: str, since: int) -> float:
    """Wait for a notification; returns how long that took.

    Args:
        sink: gets it.
        title: ends its first line.
        word: is in its text.
        since: how many had come before.

    Raises:
        FlowsculptError: it does not come.
    """
    begun = time.monotonic()
    until(lambda: sink.find(title, word, since), PATIENCE, f"the notification that {title!r} with {word!r}")
    return time.monotonic() - begun


def _failed(visitor: Visitor, sink: Sink) -> str:
    begun = sink.count
    run = visitor.start("scoring/scoring", path="data/incoming/absent.csv")
    require(visitor.ended(run)["type"] == "FAILED", "the run did not fail")
    seconds = wait_for(sink, "a run failed", run, begun)
    page = f"https://prefect.example:{visitor.stack.ports['proxy']}/"
    require(sink.find("a run failed", page, begun), f"it has no link to {page}")
    return f"after {seconds:.0f} s, with a link to {page}"


def _quarantined(visitor: Visitor, sink: Sink) -> str:
    begun = sink.count
    run = visitor.start("scoring/scoring", path=_put(visitor, "broken.csv"))
    state = visitor.ended(run)
    seconds = wait_for(sink, "files cannot be scored", "broken.csv", begun)
    return f"after {seconds:.0f} s; the run ended as {state['name']}"


def _put(visitor: Visitor, name: str) -> str:
    """Put a file that is no records into the S3 store; returns its address."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(NO_RECORDS, encoding="utf-8")
        objects.client(visitor.environment("worker-1")).upload_file(str(path), "dvc", f"incoming/{name}")
    return f"s3://dvc/incoming/{name}"


def _refused(visitor: Visitor, sink: Sink) -> str:
    """Somebody with a login of MLflow registers a version without a signature, and has it score."""
    begun, champion = sink.count, visitor.version("champion")
    given = {name: champion[name] for name in ("name", "source", "run_id")}
    given["model_id"] = champion["source"].partition("/models/")[2].partition("/")[0]
    made = visitor.registry("model-versions/create", given)["model_version"]["version"]
    try:
        run = visitor.start("scoring/scoring", path=_put(visitor, "unsigned.csv"), alias=made, rescore=True)
        require(visitor.ended(run)["type"] == "FAILED", "it has scored")
        seconds = wait_for(sink, "no trusted key vouches for a model", "", begun)
    finally:
        visitor.registry("model-versions/delete", {"name": champion["name"], "version": made}, "DELETE")
    return f"version {made} was refused, it came after {seconds:.0f} s"
