"""What is kept for a server that does not answer, and the keys that sign."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.injected.operations import Operation

BOX, SERVER, WRITTEN = Path("mlflow.outbox"), Path("server"), 4
ARTEFACT: Final = Path("artefact.txt")


def box_world() -> None:
    """A project whose server is away, and something that waits for it already."""
    Path("params.yaml").touch()
    SERVER.mkdir()
    ARTEFACT.write_text("content")
    box(away).write(operation(0))


def kept_world() -> None:
    """The same, with all that waits."""
    box_world()
    keep()


def operation(number: int) -> dict[str, Any]:
    """Something to be logged; each second one with a file."""
    return {"call": "log", "run": "r", "n": number} | ({"path": str(ARTEFACT)} if number % 2 else {})


def box(apply: Callable[[Any], Any]) -> Any:
    """The outbox of the project, and what its server does."""
    from pipeline.tracking.outbox import Outbox

    return Outbox(BOX, apply)


def away(_: Any) -> None:
    """A server that does not answer."""
    raise ConnectionError("connection refused")


def take(given: dict[str, Any]) -> None:
    """A server that takes what it is given; twice does no harm."""
    content = Path(given["path"]).read_text() if "path" in given else ""
    (SERVER / str(given["n"])).write_text(content)


def keep() -> None:
    """Log while the server is away."""
    known = look_box()
    for number in range(1, WRITTEN):
        if known[str(number)] == "absent":
            box(away).write(operation(number))


def deliver() -> None:
    """``python -m pipeline.tracking``: all that waits."""
    if left := box(take).deliver():
        raise ConnectionError(f"{left} are left")


def waiting() -> list[int]:
    """What waits, in its order."""
    from pipeline.tracking.journal import Journal

    return [each["n"] for each in Journal(BOX).pending()]


def keep_again() -> None:
    """Log once more, and deliver when the server is back: until then, what a killed process left may lie there."""
    keep()
    deliver()


def look_kept() -> dict[str, str]:
    """Of each operation, whether it is safe: it waits with its file, or the server has it."""
    safe = {"waits": "safe", "taken": "safe"}
    return {number: safe.get(state, state) for number, state in look_box().items()}


def look_box() -> dict[str, str]:
    """Of each operation, whether the server has it, or it waits with its file."""
    kept, found = waiting(), {}
    for number in range(WRITTEN):
        taken = SERVER / str(number)
        wanted = "content" if number % 2 else ""
        if taken.exists():
            found[str(number)] = "taken" if taken.read_text() == wanted else "taken without its file"
        else:
            found[str(number)] = {0: "absent", 1: "waits"}.get(kept.count(number), "waits twice")
    return found | {"order": str(kept == sorted(kept))}


# Keys.


def keys_world() -> None:
    """A project without keys."""
    Path("params.yaml").touch()
    Path("data").mkdir()


def signed_world() -> None:
    """A project with a key, and a log that it signed."""
    from pipeline.serving.trust import chain

    keys_world()
    init()
    chain.append({"time": "now", "model": "m", "decision": "refused", "reasons": []})


def init() -> None:
    """``flowsculpt keys init``."""
    from pipeline.serving.trust import keys

    keys.init("ada")


def retire() -> None:
    """``flowsculpt keys retire KEYID``, where it is not retired yet."""
    from pipeline.serving.trust import retiring, trusted

    first = trusted.load()[0]
    if not first.retired:
        retiring.retire(first.keyid)


def look_keys() -> dict[str, str]:
    """Whether a key is here, whether it signs, and what the log says."""
    from pipeline.serving.trust import chain, keys, trusted

    here, known = keys.present(), trusted.load()
    active = [key.keyid for key in known if not key.retired]
    log = chain.read(thorough=True)
    return {
        "log": f"{len(log.lines)} lines, faults: {log.faults}",
        "retired": str(sum(bool(key.retired) for key in known)),
        "signs": str(here is not None and here.keyid in active),
    }


OPERATIONS: Final = (
    Operation("outbox-keep", box_world, keep, look_kept, keep_again, outside=("server",)),
    Operation("outbox-deliver", kept_world, deliver, look_box, outside=("server",)),
    Operation("keys-init", keys_world, init, look_keys),
    Operation("keys-retire", signed_world, retire, look_keys),
)
