"""Promotion and rollback of signed versions, in a registry that is a SQLite file of the project."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from benchmarks.injected.operations import Operation, digest
from pipeline.base.errors import FlowsculptError

MODELS: Final = {"good": {}, "equal": {"percentile": 98.9}, "other": {"percentile": 98.8}}
SEARCHED: Final = ("promoted", "unchanged", "rolled back")


def registered_world() -> None:
    """A first version that serves, and a candidate that is as good."""
    _project()
    for name in ("good", "equal"):
        _register(name)
        if name == "good":
            promote()


def promoted_world() -> None:
    """The same, once the candidate serves."""
    registered_world()
    promote()


def rivals_world() -> None:
    """A version that serves, and two that could."""
    registered_world()
    _register("other")


def _project() -> None:
    import yaml

    from tests.flows.test_promotion_flow import SETTINGS, World
    from tests.stages.conftest import shipped_settings

    params = shipped_settings()
    params["promotion"] |= SETTINGS
    Path("params.yaml").write_text(yaml.safe_dump(params))
    world = World()
    for name, how in MODELS.items():
        world.bundle(Path("bundles") / name, **how)


def _register(name: str) -> Any:
    from pipeline import tracking
    from pipeline.serving import registry

    run = tracking.open_parent("training", {})
    tracking.close_parent(run)
    return registry.register(Path("bundles") / name, run, {})


def promote(version: str = "candidate") -> None:
    """``flowsculpt promote``."""
    from flows.promotion import promote as judged

    _require(judged(version))


def roll_back() -> None:
    """``flowsculpt rollback``."""
    from flows.promotion import roll_back as back

    _require(back())


def roll_back_again() -> None:
    """The same for whoever looks first which version serves; then the promotion of the next night, which refuses."""
    from flows.promotion import promote as judged

    if _number("champion") != 1 or _number("previous") != 2:
        roll_back()
    judged()


def _require(outcome: Any) -> None:
    if outcome.kind not in SEARCHED:
        raise FlowsculptError(f"{outcome.title}: {'; '.join(outcome.reasons)}")


def _number(alias: str) -> int | None:
    from pipeline.serving import registry

    found = registry.find_version(alias)
    return found.number if found else None


def look() -> dict[str, str]:
    """Which versions have the aliases, whether one may serve, and what the log and the note on the disk say."""
    from pipeline.serving import champion, loading, own_model
    from pipeline.serving.trust import chain

    found = {alias: str(_number(alias)) for alias in ("champion", "previous")}
    for alias in found.copy():
        if found[alias] != "None":
            version, bundle = loading.load(alias)
            found[f"{alias} is served"] = str((str(version.number) == found[alias], bundle.digest == version.digest))
    log = chain.read(thorough=True)
    known = champion.known(own_model.name(), "champion")
    with closing(sqlite3.connect("mlflow.db")) as database:
        (sound,) = database.execute("PRAGMA integrity_check").fetchone()
    serving = log.lines[-1].get("serving") if log.lines else None
    return found | {
        "faults of the log": str(log.faults),
        "log ends with": str(serving),
        "noted": str(known and known["number"]),
        "database": sound,
        "bundles": digest(sorted(path.name for path in Path("data/registered").glob("[0-9]*-*"))),
    }


OPERATIONS: Final = (
    Operation("promote", registered_world, promote, look),
    Operation("rollback", promoted_world, roll_back, look, roll_back_again),
)
