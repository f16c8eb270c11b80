"""The command ``adopt``: give a network a model of its own, from a first stretch of its own traffic.

::

    flowsculpt adopt PATH [--dataset zeek] [--no-promote]

The records need no labels. They become the records of this project: ``ingest.dataset``, ``ingest.path`` and
``ingest.labels`` are written to ``params.yaml``, and for a table ``stage2.unlabelled: ensemble``. The seven stages then
fit a model on the earlier records. A champion that reads such records gets thresholds from the same earlier records.
Both are tried on the later ones. The one that keeps its promise of false alarms goes through the gate.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from flows import arguments
from flows.runtime import program, working_copy
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ArtifactError, FlowsculptError, SchemaError, SourceError, TrustError
from pipeline.objects import copies
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from pipeline.serving.adoption import Trial
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.version import Version


OWN: Final = "a model of this network"
PROMOTED: Final = "Promoted"  # name of the state that a promotion ends in, if it took place
ANY: Final = "table"  # the data set that reads columns of any name
MISSED: Final = 0.1  # a kind of drill of which a smaller share raises an alarm is called missed


class PromotedNoneError(FlowsculptError):
    """The stages ran, and no model became champion; the message says all that was found."""


def main(given: Sequence[str] | None = None) -> int:
    """Adopt a network from the command line; returns the exit code."""
    chosen = arguments.parse("adopt", given)
    quiet_tools()
    return program.run("adopt", lambda: adopted(chosen))


def adopted(chosen: Namespace) -> str:
    """What was fitted, how each model did on the later records, and what became of the better one.

    Raises:
        SourceError: there is nothing at the path.
        StageError: a stage refuses the records.
        PromotedNoneError: no model keeps its promise, or the gate refuses the one that does.
    """
    from flows import promotion, training
    from flows.reports import summary
    from flows.runtime import gpu, servers

    if not copies.local(chosen.path).exists():
        raise SourceError(f"{chosen.path}: no such file or folder")
    working_copy.check(Path.cwd())
    champion = _champion(chosen.alias)
    if champion and chosen.promote:
        _refuse_other_kind(chosen, champion[1])
    with servers.connected("adopt"), _pointed(chosen, champion) as lines:
        gpu.ensure_devices()
        parent, rows = program.result(training.training(return_state=True))
        lines.append(summary.text(parent, rows))
        trials, left_out = _tried(champion)
        lines += [*map(str, trials), *left_out, *_drilled()]
        if not trials[0].alarms.kept:
            raise PromotedNoneError("\n".join([*lines, "No model keeps its promise on the later records."]))
        number = _registered(trials[0], champion)
        if chosen.promote:
            decided = promotion.promotion(number, return_state=True)
            lines.append(str(decided.message))
            if decided.name != PROMOTED:
                raise PromotedNoneError("\n".join(lines))
    return "\n".join(lines)


def _champion(alias: str) -> "tuple[Version, Bundle] | None":
    from pipeline.serving import loading

    try:
        return loading.load(alias)
    except TrustError:
        raise  # there is one, and nobody vouches for it
    except ArtifactError:
        return None


def _refuse_other_kind(chosen: Namespace, champion: "Bundle") -> None:
    """Say before the stages run what the gate would say after them.

    Raises:
        SchemaError: the champion reads records of another kind.
    """
    from pipeline.serving import heldout

    known, dataset = champion.dataset.partition(" ")[0], _dataset(chosen, champion)
    if heldout.kind(known) != heldout.kind(dataset):
        raise SchemaError(
            f"{chosen.path}: these are {dataset} records, and the {chosen.alias} reads {known} ones: give this network "
            "a model of its own, tracking.model in params.yaml, and try again; or register it only, with --no-promote"
        )


def _dataset(chosen: Namespace, champion: "Bundle | None") -> str:
    """What the records are: as named, or as their first lines say, else what the champion reads."""
    from pipeline import config
    from pipeline.datasets import recognise

    if found := chosen.dataset or recognise.dataset_of(copies.local(chosen.path)):
        return str(found)
    known = champion.dataset.partition(" ")[0] if champion else str(config.read()["ingest"]["dataset"])
    return ANY if known == "synthetic" else known


def _value(settings: Mapping[str, Any], name: str) -> object:
    section, key = name.split(".")
    return settings[section][key]


@contextmanager
def _pointed(chosen: Namespace, champion: "tuple[Version, Bundle] | None") -> Iterator[list[str]]:
    """Make the records those of this project; says what was changed. Where a stage fails, all is as before."""
    from flows.runtime import dvc, follow
    from pipeline import config

    now = config.read()
    dataset = _dataset(chosen, champion and champion[1])
    wanted = {"ingest.dataset": dataset, "ingest.path": chosen.path, "ingest.labels": "none"}
    if dataset == ANY:  # what comes in is mostly benign; the robust model is for tables that hold many attacks
        wanted["stage2.unlabelled"] = "ensemble"
    changed = {name: value for name, value in wanted.items() if _value(now, name) != value}
    settings = Path(config.PARAMS)
    before = settings.read_bytes()
    if changed:
        dvc.write_settings(settings, changed)
    try:
        yield [
            f"{chosen.path}: read as {dataset}",
            *(f"{key}: {value}, in {config.PARAMS}" for key, value in changed.items()),
        ]
    except PromotedNoneError:
        raise
    except BaseException:
        write_bytes(settings, before)
        follow.follow(Path.cwd())
        raise


def _tried(champion: "tuple[Version, Bundle] | None") -> "tuple[list[Trial], list[str]]":
    """Both models on the later records, and why the champion was left out, if it was."""
    from pipeline import config
    from pipeline.serving import adoption
    from pipeline.serving.bundle import Bundle
    from pipeline.settings.evaluate import Evaluate
    from pipeline.settings.promotion import Rules

    models, left_out = {OWN: Bundle.of_project()}, []
    if champion is not None:
        name = f"version {champion[0].number} with thresholds of this network"
        try:
            models[name] = adoption.recalibrated(champion[1])
        except SchemaError as error:
            left_out.append(f"version {champion[0].number} was left out: {error}")
    return adoption.compared(models, config.load(Rules).threshold, config.load(Evaluate).drills), left_out


def _drilled() -> list[str]:
    """Which simulated attacks the new model misses: attacks among the first records are what it has learnt as usual."""
    from pipeline import config
    from pipeline.artifacts import paths
    from pipeline.artifacts.files import read_json
    from pipeline.settings.promotion import Rules

    threshold = config.load(Rules).threshold
    found = read_json(paths.METRICS).get("drills", {}).get("simulated") if paths.METRICS.is_file() else None
    if not found or threshold not in found["thresholds"]:
        return []
    shares = {kind: of["thresholds"][threshold]["recall"] for kind, of in found["kinds"].items()}
    missed = ", ".join(kind for kind, share in shares.items() if share < MISSED) or "none"
    share = 100 * found["thresholds"][threshold]["recall"]
    return [
        f"{OWN}: {share:.0f} % of simulated attacks (drills) raise an alarm at {threshold}. Hardly any "
        f"are found of these kinds: {missed}. A kind that was among the first records is learnt as benign and not found"
    ]


def _registered(best: "Trial", champion: "tuple[Version, Bundle] | None") -> str:
    """The number or alias of the version that stands for promotion."""
    from flows import lineage
    from pipeline.serving import registry

    if champion is None or best.name == OWN:
        return registry.CANDIDATE  # training has registered it
    tags = {lineage.RECALIBRATES: str(champion[0].number)}
    with TemporaryDirectory() as folder:
        best.bundle.save(Path(folder) / "bundle")
        return str(registry.register(Path(folder) / "bundle", champion[0].run_id, tags, str(best)).number)


if __name__ == "__main__":
    sys.exit(main())
