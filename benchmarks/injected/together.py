"""Operations that meet each other: trainings, promotions, deliveries, a rollback while files are scored, writers."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.injected import alerts, promotions, stages
from benchmarks.injected.operations import Operation, of_path

EACH: Final = 20  # alerts, or metrics, that each of several writers writes
MANY: Final = 8


def served_world() -> None:
    """A project with a registry: version 2 serves after version 1, both of the same kind, and a file came in."""
    from pipeline import tracking
    from pipeline.serving import registry
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.manifest import HashedFolder

    alerts.scored_world()
    sealed, before = Bundle.of_project().sealed, None
    for number in range(2):
        HashedFolder({**sealed.about, "dataset": f"{sealed.about['dataset']} {number}"}, sealed.files).save(
            Path("made") / str(number)
        )
        run = tracking.open_parent("training", {})
        tracking.close_parent(run)
        made = registry.register(Path("made") / str(number), run, {})
        before = registry.promote(made, before)


def look_served() -> dict[str, str]:
    """That one version alone scored the file, as a whole, and that the rollback holds."""
    from pipeline.artifacts.tables import table_metadata
    from pipeline.serving import arrivals, scored

    (file,) = arrivals.find(alerts.NEW.parent)
    numbers = [number for number in (1, 2) if scored.is_scored(file, number)]
    said = {table_metadata(scored.table_path(file.key(number)))["flowsculpt.version"] for number in numbers}
    keys = alerts.logged("eve")
    return {
        "scored by one version": str(len(numbers) == 1 and said == {str(numbers[0])}) if numbers else "absent",
        "alerts twice": str([key for key, count in keys.items() if count > 1]),
        "incoming": of_path(alerts.NEW),
        "champion": str(promotions.look()["champion"] in ("1", "2")),
        "faults of the log": promotions.look()["faults of the log"],
    }


def roll_back_once() -> None:
    """``flowsculpt rollback``, for whoever looks first."""
    if promotions.look()["champion"] == "2":
        promotions.roll_back()


def score_and_roll_back() -> None:
    """What must hold in the end."""
    roll_back_once()
    alerts.score_again()


def promote_second() -> None:
    """A person promotes one candidate by its number."""
    promotions.promote("2")


def promote_third() -> None:
    """Another one promotes another."""
    promotions.promote("3")


def look_rivals() -> dict[str, str]:
    """That one of the two serves, and log, note and registry agree."""
    found = promotions.look()
    serves = found["champion"]
    return {
        "serves": str(serves in ("2", "3")) if serves != "1" else "absent",
        "served": found["champion is served"],
        "noted": str(found["noted"] == serves),
        "faults of the log": found["faults of the log"],
        "database": found["database"],
    }


def put(number: int) -> None:
    """One of several writers hands over alerts of its own."""
    from pipeline.serving.alerts import delivery
    from tests.serving.alerts.sinks import made

    for place in range(EACH):
        delivery.hand_over([made.alert(1_000 + number * EACH + place)], alerts.rules())


def look_put() -> dict[str, str]:
    """Whether all are in each spool, once."""
    found = {sink: alerts.waits(sink) for sink in (*alerts.LOGS, "parquet")}
    return {
        sink: "whole" if len(keys) == len({*keys}) == MANY * EACH else f"{len(keys)}" for sink, keys in found.items()
    }


def log(number: int) -> None:
    """One of several stages logs metrics to its own run of one store."""
    from pipeline.tracking import stage_run

    run = stage_run.StageRun(Path("runs").read_text().split()[number])
    for step in range(EACH):
        run.metrics({"loss": float(step)}, step)


def runs_world() -> None:
    """A project with a store, and a run for each writer."""
    from pipeline import tracking

    Path("params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    Path("runs").write_text(" ".join(tracking.open_parent(f"run {number}", {}) for number in range(MANY)))


def look_runs() -> dict[str, str]:
    """Whether each run has each of its points."""
    from pipeline.tracking import store

    found = {}
    for run in Path("runs").read_text().split():
        points = [point.step for point in store.client().get_metric_history(run, "loss")]
        found[run] = "whole" if sorted(points) == [*range(EACH)] else str(sorted(points))
    return found


_BY_NAME: Final = {each.name: each for each in (*stages.OPERATIONS, *alerts.OPERATIONS)}
MEETING: Final = (
    replace(_BY_NAME["preprocess"], name="two trainings", meanwhile=_BY_NAME["preprocess"].act),
    replace(_BY_NAME["stage2"], name="two trainings, stage2", meanwhile=_BY_NAME["stage2"].act),
    replace(_BY_NAME["alerts-deliver"], name="two deliveries", meanwhile=alerts.deliver),
    Operation(
        *("two promotions", promotions.rivals_world, promote_second, look_rivals),
        again=lambda: None,
        meanwhile=promote_third,
    ),
    Operation(
        *("rollback during scoring", served_world, alerts.score, look_served),
        again=score_and_roll_back,
        meanwhile=roll_back_once,
    ),
)
WRITING: Final = (
    Operation("spool", alerts.spool_world, put, look_put, database="data/scored/spool/eve.sqlite"),  # type: ignore[arg-type]
    Operation("store", runs_world, log, look_runs, database="mlflow.db"),  # type: ignore[arg-type]
)
