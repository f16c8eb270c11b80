"""Writes simulated traffic as Zeek would log it: one ``conn.log`` a day, in Zeek's own format or as JSON."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.base import durable
from pipeline.base.samples import row_hash
from pipeline.datasets.synthetic.addresses import FIRST_DAY, number, texts
from pipeline.datasets.synthetic.connections import connections
from pipeline.datasets.synthetic.conversations import CLIENT, SERVER, Ints
from pipeline.datasets.synthetic.scenes import Scene, scenes, working_days

Form = Literal["tsv", "json"]
INSIDE = number("10.0.0.0") >> 24  # addresses of the office begin with it
SERVICES = {
    21: "ftp", 22: "ssh", 25: "smtp", 53: "dns", 80: "http", 88: "krb_tcp", 123: "ntp", 137: "dns", 139: "smb",
    389: "ldap_tcp", 443: "ssl", 445: "gssapi,smb", 465: "ssl", 587: "smtp", 993: "ssl", 995: "ssl", 5353: "dns",
    5355: "dns", 8080: "http",
}  # fmt: skip
TYPES = {
    "ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port",
    "proto": "enum", "service": "string", "duration": "interval", "orig_bytes": "count", "resp_bytes": "count",
    "conn_state": "string", "local_orig": "bool", "local_resp": "bool", "missed_bytes": "count", "history": "string",
    "orig_pkts": "count", "orig_ip_bytes": "count", "resp_pkts": "count", "resp_ip_bytes": "count", "label": "string",
}  # fmt: skip


def write_logs(
    folder: Path, conversations: int, days: int, seed: int, attacks: bool = False, form: Form = "tsv"
) -> list[Path]:
    """Simulate traffic of some working days, and write a log for each.

    It is the traffic that ``captures.write_captures`` writes for the same arguments. The same arguments give the same
    bytes. With attacks, each connection has a ``label``.

    Args:
        folder: where the files go; it is made where it is absent.
        conversations: benign ones, all days together.
        days: working days, Monday first.
        seed: of every draw, not negative.
        attacks: whether there are any.
        form: Zeek's own format, or an object of JSON in each line.

    Returns:
        The logs, in the order of the days.

    Raises:
        ConfigError: fewer conversations than days, no day, or a negative seed.
    """
    planned = working_days(conversations, days)
    durable.make_folder(folder)
    return [_write_day(folder, day, count, seed, attacks, form) for day, count in planned]


def write_scene_log(path: Path, scene: Scene) -> None:
    """Write the connections of one scene, without labels, in Zeek's own format."""
    with durable.atomic(path) as temporary, temporary.open("wb") as file:
        _write_tsv(_table(scene, [0]).drop_columns(["label"]), file)


def objects(scene: Scene) -> list[bytes]:
    """The connections of one scene, an object of JSON each."""
    return [orjson.dumps(row) for row in _rows(_table(scene, [0]))]


def _write_day(folder: Path, day: int, conversations: int, seed: int, attacks: bool, form: Form) -> Path:
    parts = [_table(scene, [seed, day, place]) for place, scene in enumerate(scenes(day, conversations, seed, attacks))]
    table = pa.concat_tables(parts)
    ended = pc.add(table.column("ts"), table.column("duration").fill_null(0))
    table = table.take(pc.array_sort_indices(ended.combine_chunks()))  # Zeek logs a connection when it has ended
    date = FIRST_DAY + timedelta(days=day)
    path = folder / f"conn.{date:%Y-%m-%d}.{'log' if form == 'tsv' else 'json'}"
    with durable.atomic(path) as temporary, temporary.open("wb") as file:
        _FORMS[form](table if attacks else table.drop_columns(["label"]), file)
    return path


def _table(scene: Scene, seed: list[int]) -> pa.Table:
    """The connections of a scene, a column for each field of the log; null where Zeek leaves it unset."""
    made = connections(scene.packets, scene.link.tcp)
    tcp, which, n = scene.link.tcp, made.conversation, len(made.conversation)
    client, server, begin = (values[which] for values in (scene.placed.client, scene.placed.server, scene.placed.begin))
    port = scene.link.port[:, which]
    alone = made.packets.sum(axis=0) == 1
    talked = (made.payload > 0).all(axis=0) | (~np.bool_(tcp) & (made.payload[CLIENT] > 0))
    return pa.table(
        {
            "ts": (begin + made.start) / 1e6,
            "uid": _names(n, seed),
            "id.orig_h": texts(client),
            "id.orig_p": port[CLIENT],
            "id.resp_h": texts(server),
            "id.resp_p": port[SERVER],
            "proto": pa.array(["tcp" if tcp else "udp"] * n),
            "service": pa.array(_services(port[SERVER]), pa.string(), mask=~talked),
            "duration": pa.array((made.end - made.start) / 1e6, mask=alone),
            "orig_bytes": pa.array(made.payload[CLIENT], mask=alone),
            "resp_bytes": pa.array(made.payload[SERVER], mask=alone),
            "conn_state": made.state.tolist(),
            "local_orig": client >> 24 == INSIDE,
            "local_resp": server >> 24 == INSIDE,
            "missed_bytes": np.zeros(n, np.int64),
            "history": made.history.tolist(),
            "orig_pkts": made.packets[CLIENT],
            "orig_ip_bytes": made.ip_bytes[CLIENT],
            "resp_pkts": made.packets[SERVER],
            "resp_ip_bytes": made.ip_bytes[SERVER],
            "label": pa.array([scene.attack] * n),
        }
    )


def _names(n: int, seed: list[int]) -> list[str]:
    """(n,) identifiers that no other connection has."""
    numbers = row_hash([*(np.full(n, each) for each in seed), np.arange(n)])
    return [f"C{each:016x}" for each in numbers.tolist()]


def _services(ports: Ints) -> NDArray[np.object_]:
    """(n,) what Zeek recognises behind each port; None where it knows nothing of it."""
    return np.array([SERVICES.get(port) for port in ports.tolist()], dtype=object)


def _write_tsv(table: pa.Table, file: Any) -> None:
    names = table.column_names
    head = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tconn"]
    head += ["\t".join(["#fields", *names]), "\t".join(["#types", *(TYPES[name] for name in names)])]
    file.write(("\n".join(head) + "\n").encode())
    columns = {name: _text(table.column(name)) for name in names}
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    csv.write_csv(pa.table(columns), file, options)
    file.write(b"#close\n")


def _text(column: pa.ChunkedArray) -> pa.Array:
    """A column as Zeek spells it: six decimals, T and F, and a dash for what is unset."""
    if pa.types.is_floating(column.type):
        return pa.array(["-" if value is None else f"{value:.6f}" for value in column.to_pylist()])
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "T", "F")
    return column.cast(pa.string()).fill_null("-")


def _write_json(table: pa.Table, file: Any) -> None:
    for row in _rows(table):
        file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _rows(table: pa.Table) -> Iterable[dict[str, Any]]:
    """One object a connection, without what is unset."""
    for batch in table.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield {
                name: round(value, 6) if isinstance(value, float) else value
                for name, value in row.items()
                if value is not None
            }


_FORMS: dict[Form, Callable[[pa.Table, Any], None]] = {"tsv": _write_tsv, "json": _write_json}
