"""Simulated attacks as records of a network's own kind: what its tool would have written of their packets.

They are no attacks of that network. Each kind of attack is simulated as in the synthetic data set, and its packets are
summarised by CICFlowMeter's definitions, or as Zeek, Suricata or nfstream log them. Tables and NSL-KDD have features
that cannot be computed from packets, so they get none.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.datasets.registry import READERS
from pipeline.datasets.schema import Column
from pipeline.datasets.synthetic.addresses import attack
from pipeline.datasets.synthetic.attacks import ATTACKS
from pipeline.datasets.synthetic.captures import write_scene
from pipeline.datasets.synthetic.days import ATTACKS_PER_50_000, WORKING_HOURS
from pipeline.datasets.synthetic.files import simulate
from pipeline.datasets.synthetic.scenes import CALLED_HOME, Scene, talk
from pipeline.datasets.synthetic.sensor_logs import write_events, write_flows
from pipeline.datasets.synthetic.zeek_logs import objects, write_scene_log

KINDS: Final = tuple(ATTACKS_PER_50_000)
Writer = Callable[[Path, Scene], None]

# Data set -> the reader, the name of a log, and what writes a scene into it.
LOGS: Final[Mapping[str, tuple[str, str, Writer]]] = {
    "cicids2017": ("pcap", "attack.pcap", write_scene),  # as the corrected release measures packets
    "pcap": ("pcap", "attack.pcap", write_scene),
    "zeek": ("zeek", "conn.log", write_scene_log),
    "suricata": ("suricata", "eve.json", lambda path, scene: write_events(path, _rows(scene))),
    "nfstream": ("nfstream", "flows.csv", lambda path, scene: write_flows(path, _rows(scene))),
}


def simulated(
    dataset: str, columns: Sequence[Column], twice: bool, extraction: Mapping[str, Any], records: int, seed: int
) -> dict[str, pa.Table]:
    """Kind of attack -> its records, raw; nothing where the data set has features that packets do not give.

    Args:
        dataset: name of the data set.
        columns: those that are needed.
        twice: whether the records have the first packet of a flow counted twice, as the published files do.
        extraction: settings of the data set that its features depend on.
        records: of all kinds together, about.
        seed: of the draws; the same arguments give the same records.
    """
    each = max(1, records // len(KINDS))
    published = dataset == "synthetic" or (dataset == "cicids2017" and twice)
    if not records or (not published and dataset not in LOGS):
        return {}
    made = {}
    for number, kind in enumerate(KINDS, start=1):
        rng = np.random.default_rng([seed, number])
        if published:
            made[kind] = pa.table(simulate(rng, ATTACKS[kind], each, labelled=True)[0])
        else:
            made[kind] = _logged(dataset, columns, extraction, _scene(rng, kind, number, each)).slice(0, each)
    has = set.intersection(*({*table.column_names} for table in made.values()))
    return made if {column.name for column in columns} <= has else {}


def _scene(rng: np.random.Generator, kind: str, number: int, conversations: int) -> Scene:
    link, packets = talk(rng, ATTACKS[kind], conversations)
    return Scene(kind, link, packets, attack(rng, link, 0, WORKING_HOURS, number, kind in CALLED_HOME))


def _logged(dataset: str, columns: Sequence[Column], extraction: Mapping[str, Any], scene: Scene) -> pa.Table:
    """The records that the tool of the data set makes of a scene."""
    reader, name, write = LOGS[dataset]
    with TemporaryDirectory() as folder:
        write(Path(folder) / name, scene)
        settings = extraction if reader == dataset else {}
        read = READERS[reader](path=Path(folder) / name, needed=tuple(columns), **settings).read()
        return pa.concat_tables([chunk.records for chunk in read])


def _rows(scene: Scene) -> list[dict[str, Any]]:
    return [json.loads(line) for line in objects(scene)]
