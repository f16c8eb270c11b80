"""What each program takes on the command line.

Nothing heavy is imported here, so that ``--help`` and a misspelt option answer at once: a program asks for its
arguments before it imports what takes seconds.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from flows import keeping_arguments, serving_arguments
from flows.runtime import logs

LOCAL, TRIAGE_PORT = serving_arguments.LOCAL, serving_arguments.TRIAGE_PORT
CANDIDATE: Final = "candidate"
DEPLOYMENTS: Final = "prefect.yaml"
POOLS: Final = ("cpu", "gpu")
DATASETS: Final = ("cicids2017", "nfstream", "nslkdd", "pcap", "suricata", "table", "zeek")  # a test holds it to be all


def parse(program: str, given: Sequence[str] | None = None, command: str = "") -> argparse.Namespace:
    """The arguments of a program.

    Args:
        program: a module of ``flows``.
        given: what was given; None: what this process was started with.
        command: what the usage calls it; ``python -m flows.PROGRAM`` if left out.

    Raises:
        SystemExit: the help was asked for and is printed, or an argument is refused.
    """
    logs.prepare()  # before Prefect is imported, which sets up its own then
    parser = argparse.ArgumentParser(prog=command or f"python -m flows.{program}")
    PROGRAMS[program](parser)
    chosen = parser.parse_args(given)
    if program in CHECKS and (fault := CHECKS[program](chosen)):
        parser.error(fault)
    return chosen


def _training(parser: argparse.ArgumentParser) -> None:
    parser.description = "Reproduce the pipeline."
    parser.add_argument("--force", action="store_true", help="run every stage, also where nothing changed")
    parser.add_argument("--promote", action="store_true", help="promote the new version if it passes the gate")
    parser.add_argument(
        "--when-busy",
        choices=("wait", "refuse"),
        default="wait",
        help="what to do if another run is at work in this clone",
    )


def _score(parser: argparse.ArgumentParser) -> None:
    parser.description = "Score new records: files here and now, without a server; a folder by the scoring flow."
    parser.add_argument("path", nargs="+", help="files, or one folder of CSV, gz, zip or Parquet files")
    parser.add_argument("--alias", default="champion", help="the version that scores: an alias or a number")
    parser.add_argument(
        "--false-discovery",
        type=float,
        default=0.0,
        help="decide on each file as a whole, so that at most this share of its alarms is false on average; 0: do not",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "csv", "parquet"),
        default="auto",
        help="whether verdicts are written as CSV beside the Parquet table; auto: up to scoring.csv_records records",
    )
    parser.add_argument(
        "--rescore", action="store_true", help="judge again what other versions have scored, and say what changed"
    )


def _watch(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Judge records as they come, without any server, until TERM or Ctrl-C. Sinks get each alert at once, and each "
        "incident when a stretch of a log or a file is whole, at most every watch.incidents seconds."
    )
    parser.add_argument("path", help="a folder, a log that grows, or - for standard input")
    parser.add_argument("--alias", default="champion", help="the version that judges: an alias or a number")


def _read(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what is understood of files, without training or scoring anything."
    parser.add_argument("path", nargs="+", help="files or folders of records")
    parser.add_argument("--dataset", choices=DATASETS, help="without it that of params.yaml, or pcap for captures")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _adopt(parser: argparse.ArgumentParser) -> None:
    parser.description = "Give a network a model of its own, from a first stretch of its own traffic, without labels."
    parser.add_argument("path", help="a file or folder of records or captures: hours to a week")
    parser.add_argument("--dataset", choices=DATASETS, help="what they are; without it, what their first lines say")
    parser.add_argument("--alias", default="champion", help="the version that may get new thresholds instead")
    parser.add_argument(
        "--no-promote", dest="promote", action="store_false", help="register the better model, and ask the gate nothing"
    )


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say why the strongest alerts of a file are alerts: which features, beside similar benign records."
    )
    parser.add_argument("path", help="a file of records")
    parser.add_argument("--record", action="append", metavar="ID", help="explain this record; may be given again")
    parser.add_argument("--alias", default="champion", help="the version that scored: an alias or a number")
    parser.add_argument("--most", type=int, default=3, help="alerts that are explained, the strongest first")
    parser.add_argument("--features", type=int, default=5, help="features that are named for each")


def _incidents(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show what the alerts of scored files come to: one line for each incident, the worst first."
    parser.add_argument("--version", type=int, help="of the model; without it, all that have scored")
    parser.add_argument("--since", help="a span such as 24h or 7d, or a time in UTC such as 2026-12-31T08:00")
    parser.add_argument("--all", action="store_true", help="also those with little evidence, and those that are hidden")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _deliver(parser: argparse.ArgumentParser) -> None:
    parser.description = "Deliver the alerts that wait for a sink, and incidents."
    parser.add_argument("--status", action="store_true", help="deliver nothing; say where each sink stands")
    parser.add_argument("--seconds", type=float, default=600.0, help="that each sink may take")
    parser.add_argument(
        "--stored", action="store_true", help="first hand over all alerts that are stored; a sink gets each once"
    )
    parser.add_argument(
        "--incidents", action="store_true", help="hand over incidents, and deliver nothing; the watch calls this"
    )
    refused = parser.add_mutually_exclusive_group()
    refused.add_argument("--refused", action="store_true", help="first let the messages wait again that were refused")
    refused.add_argument("--give-up", action="store_true", help="first forget what was refused or is lost")


def _label(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say which alerts were attacks and which were not; the next training learns it."
    parser.add_argument("record_id", nargs="*", metavar="RECORD_ID", help="ids of records that were scored or ingested")
    said = parser.add_mutually_exclusive_group(required=True)
    said.add_argument("--confirmed", metavar="NAME", help="they were this attack")
    said.add_argument("--dismissed", action="store_true", help="they were benign")
    said.add_argument("--unsure", action="store_true", help="you have looked and cannot say; training passes them over")
    said.add_argument("--undo", action="store_true", help="take back your last label on each")
    said.add_argument("--from", dest="from_file", metavar="FILE.csv", help="a CSV of record_id and label, by and note")
    parser.add_argument("--by", default="", help="who says so; without it the name of the user")
    parser.add_argument("--note", default="", help="why")
    parser.add_argument("--new", action="store_true", help="the name is that of a new attack")


def _refuse_none(chosen: argparse.Namespace) -> str | None:
    if bool(chosen.record_id) == bool(chosen.from_file):
        return "give the ids of records, or a CSV with --from"
    return None


def _triage(parser: argparse.ArgumentParser) -> None:
    parser.description = "Serve the triage page: incidents, their alerts and reasons, and what people say of them."
    parser.add_argument("--host", default=LOCAL, help="the address that it listens on")
    parser.add_argument("--port", type=int, default=TRIAGE_PORT, help="0: a free one")
    parser.add_argument(
        "--allowed-hosts", default="", help="names by which other machines call it: box.example,192.0.2.7"
    )


def _promotion(parser: argparse.ArgumentParser) -> None:
    parser.description = "Promote a model, or go back."
    parser.add_argument("version", nargs="?", default=CANDIDATE, help="an alias or a number, candidate if left out")
    parser.add_argument("--dry-run", action="store_true", help="show the decision, and move nothing")
    parser.add_argument("--rollback", action="store_true", help="make the previous version the champion again")


def _refuse_both(chosen: argparse.Namespace) -> str | None:
    if chosen.rollback and (chosen.dry_run or chosen.version != CANDIDATE):
        return "--rollback goes back to the previous version, and takes neither a version nor --dry-run"
    return None


def _drift_check(parser: argparse.ArgumentParser) -> None:
    parser.description = "Has benign traffic drifted?"
    parser.add_argument("--alias", default="champion", help="the version to check: an alias or a number")
    parser.add_argument("--dry-run", action="store_true", help="look only; register nothing")


def _lineage(parser: argparse.ArgumentParser) -> None:
    parser.description = "From an alert back to the data."
    parser.add_argument("what", metavar="WHAT", help="the key of an alert, a file, a version, an alias or a run id")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _deploy(parser: argparse.ArgumentParser) -> None:
    parser.description = "Put the deployments on the Prefect server, under the names of this project's model."
    parser.add_argument("file", nargs="?", default=DEPLOYMENTS, help="in the form of prefect.yaml")


def _worker(parser: argparse.ArgumentParser) -> None:
    parser.description = "Take up scheduled runs."
    parser.add_argument("--pool", action="append", choices=POOLS, help="a pool to poll; default: all that it can serve")
    parser.add_argument(
        "--gpu-workers", help="a number of GPUs, or auto, in place of workers.gpu_workers of the settings"
    )


def _benchmark(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a grid of experiments."
    parser.add_argument("--designs", nargs="+", default=[], help="names from benchmark.yaml; default: all")
    parser.add_argument("--configurations", nargs="+", default=[], help="names from benchmark.yaml; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="default: those of benchmark.yaml")
    parser.add_argument("--path", default="", help="the folder that the records of every design lie below")
    parser.add_argument("--out", default="data/reports/benchmark", help="the folder that the table goes to")


def _preset(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a preset into params.yaml."
    parser.add_argument("name", nargs="?", help="a preset, or `shipped`; without a name, all are listed")


def _quickstart(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train, promote the model if it passes the gate, and score data/example/flows.csv with the champion."
    )


# What a parser cannot say by itself: the arguments of a program -> what is wrong with them together.
CHECKS: Final[dict[str, Callable[[argparse.Namespace], str | None]]] = {
    "promotion": _refuse_both,
    "label": _refuse_none,
}
PROGRAMS: Final[dict[str, Callable[[argparse.ArgumentParser], None]]] = {
    "training": _training,
    "score": _score,
    "watch": _watch,
    "read": _read,
    "adopt": _adopt,
    "explain": _explain,
    "incidents": _incidents,
    "deliver": _deliver,
    "label": _label,
    "triage": _triage,
    "promotion": _promotion,
    "keys": keeping_arguments.keys,
    "verify": keeping_arguments.verify,
    "drift_check": _drift_check,
    "lineage": _lineage,
    "reproduce": keeping_arguments.reproduce,
    "prune": keeping_arguments.prune,
    "serve": serving_arguments.serve,
    "people": keeping_arguments.people,
    "automations": keeping_arguments.automations,
    "deploy": _deploy,
    "worker": _worker,
    "benchmark": _benchmark,
    "preset": _preset,
    "doctor": keeping_arguments.doctor,
    "backup": keeping_arguments.backup,
    "restore": keeping_arguments.restore,
    "quickstart": _quickstart,
}
