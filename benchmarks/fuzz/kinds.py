"""The kinds of input that the project reads from its users, and how it reads each."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import mutations
from benchmarks.fuzz import good
from pipeline.artifacts import labels, paths
from pipeline.base.errors import FlowsculptError, SourceError, TrustError
from pipeline.datasets.apart.reader import Asked
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.unpacking import BROKEN


class Kind(NamedTuple):
    """A kind of input.

    Attributes:
        good: an input as it should be.
        take: reads an input that lies in a file, as a user's is read.
        form: how values stand in it: json, lines (of JSON), yaml; "" where only bytes are changed.
        suffix: of the file.
        is_whole: whether its values alone are changed, and no bytes.
    """

    good: Callable[[], bytes]
    take: Callable[[Path], object]
    form: str = ""
    suffix: str = ""
    is_whole: bool = False


def _settings(path: Path) -> None:
    from pipeline import config
    from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS

    params, faults = config.read(path), []
    for shape in (*SECTIONS.values(), *FLOW_SECTIONS.values()):
        try:
            config.build(shape, params, str(path))
        except FlowsculptError as error:
            faults.append(error)
    if faults:
        raise faults[0]


def _put(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())


def _labels(path: Path) -> None:
    _put(path, paths.LABELS)
    labels.read()


def _key_list(path: Path) -> None:
    from pipeline.serving.trust import trusted

    _put(path, paths.TRUSTED_KEYS)
    trusted.load()


def _statement(path: Path) -> None:
    from pipeline.serving.trust import statements

    statements.read_promotion(path.read_bytes().decode(errors="replace"), good.trusted())


def _promotions(path: Path) -> None:
    from pipeline.serving.trust import chain

    chain.parsed.cache_clear()
    log = chain.parsed(path.read_bytes(), tuple(good.trusted()), thorough=True)
    log.served("flowsculpt"), log.before("flowsculpt", 3)
    if log.faults:
        raise TrustError(log.faults[0])


def _model(path: Path) -> None:
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.manifest import HashedFolder

    changed = json.loads(path.read_bytes())
    files = dict(good.bundle().files)
    if isinstance(changed, dict):
        files |= {name: json.dumps(each).encode() for name, each in changed.items() if name in files}
    with tempfile.TemporaryDirectory() as folder:
        HashedFolder(good.bundle().about, files).save(Path(folder) / "bundle")
        Bundle.load(Path(folder) / "bundle")


def _table(path: Path) -> None:
    from pipeline.datasets.table import Table

    for _ in Table(path, categorical=("word",)).read():
        pass


def _records(dataset: str) -> Callable[[Path], None]:
    def take(path: Path) -> None:
        try:
            for _ in Asked(path, dataset, FEATURES, {}, Reading(), {}, ()).read():
                pass
        except BROKEN as error:  # the process that reads files says it in words
            raise SourceError(f"{path}: is damaged: {error}") from error

    return take


KINDS: Final[Mapping[str, Kind]] = {
    "params": Kind(good.params, _settings, "yaml", ".yaml"),
    "labels": Kind(good.label, _labels, "lines", ".jsonl"),
    "keys": Kind(good.key_list, _key_list, "json", ".json"),
    "signature": Kind(good.tag, _statement, "json"),
    "promotions": Kind(good.log, _promotions, "lines", ".jsonl"),
    "bundle": Kind(good.parts, _model, "json", ".json", is_whole=True),
    "json": Kind(good.rows, _table, "lines", ".jsonl"),
    "suricata": Kind(good.events, _records("suricata"), "lines", ".json"),
    "zeek": Kind(lambda: good.sensor("zeek"), _records("zeek"), "", ".log"),
    "pcap": Kind(lambda: good.sensor("pcap"), _records("pcap"), "", ".pcap"),
    "csv": Kind(good.table, _records("cicids2017"), "", ".csv"),
    "parquet": Kind(lambda: mutations.KINDS["parquet"][1](good.table()), _records("cicids2017"), "", ".parquet"),
    "zip": Kind(lambda: mutations.KINDS["zip"][1](good.table()), _records("cicids2017"), "", ".zip"),
}
