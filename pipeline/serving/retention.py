"""What scoring leaves and nobody needs any more: old tables, files in quarantine, copies of versions.

::

    data/scored/pruned/KEY.json     the summary of a file whose tables were removed

A file whose tables are removed counts as scored all the same, so a schedule that names its folder raises no alert
twice; ``--rescore`` judges it again. What stays, however old it is:

- the last records that the champion has judged and the last samples, which the drift check and the gate read;
- tables with alerts that a sink does not have yet, or that are still to be uploaded;
- copies of the versions that have an alias.

Of one file the summary goes first. So a process that is killed leaves no file that counts as whole and is not; what it
left is removed by the next call.
"""

import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base import durable, temporary
from pipeline.base.errors import ArtifactError
from pipeline.serving import champion, claims, own_model, scored, verdict_csv
from pipeline.serving.alerts import delivery
from pipeline.serving.judged import SAMPLE
from pipeline.settings.alerts import Sinks
from pipeline.tracking import store
from pipeline.tracking.removal import Removal, before, size_of

ROOMS: Final = (*scored.TABLES, scored.PASTS)
SCORED, QUARANTINED, COPIES = "scored files", "files in quarantine", "copies of versions"
_COPY: Final = re.compile(r"\d+-[0-9a-f]{1,16}")  # see ``champion.folder_of``


# Scored files.


def scored_files(days: int, needed: int, serving: int | None, sinks: Sinks, now: float) -> Iterator[Removal]:
    """Files that were scored so many days ago, the oldest first.

    Args:
        days: that their tables are kept; 0: for ever.
        needed: records that the drift check and the gate look at.
        serving: number of the champion; None where there is none.
        sinks: which sinks there are.
        now: seconds since 1970.

    Raises:
        ConfigError: the settings of a sink are not allowed.
    """
    limit = before(days, now)
    if limit is None:
        return
    waiting, known = _waiting(sinks), scored.summaries()
    kept = _needed(known, needed, serving)
    for key, about in known.items():
        if scored.time_of(about, key) < limit and key not in kept and f"{key}.parquet" not in waiting:
            yield _removal(key)
    for path in sorted(scored.pruned_folder().glob("*.json")):
        if path.stem not in known and any(map(Path.exists, _tables(path.stem))):
            yield _removal(path.stem)


def _removal(key: str) -> Removal:
    size = size_of([scored.summary_path(key), *_tables(key)])
    return Removal(SCORED, key, size, partial(_remove_scored, key))


def _remove_scored(key: str) -> bool:
    with claims.claimed(_sha256(key), waits=False) as is_mine:
        if is_mine:
            durable.make_folder(scored.pruned_folder())
            with suppress(FileNotFoundError):  # an earlier call was killed behind this
                durable.publish(scored.summary_path(key), scored.pruned_folder() / f"{key}.json")
            for path in (*_tables(key), own_model.scored() / "uploaded" / f"{key}.json"):
                path.unlink(missing_ok=True)
        return is_mine


def _tables(key: str) -> list[Path]:
    return [*(scored.table_path(key, room) for room in ROOMS), verdict_csv.path_of(key)]


def _sha256(key: str) -> str:
    return key.rpartition("-v")[0][-64:]


def _waiting(sinks: Sinks) -> set[str]:
    """Names of the tables of alerts that a sink does not have yet."""
    if not (own_model.scored() / delivery.ROOM).is_dir():
        return set()
    return {name for each in delivery.states(sinks) for name in each.state.held}


def _needed(known: Mapping[str, Mapping[str, Any]], records: int, serving: int | None) -> set[str]:
    """The last files of the champion with so many records, and the last of any version with so many in samples."""
    newest = [*known.items()][::-1]
    own = ((key, about.get("records", 0)) for key, about in newest if about.get("version") == serving)
    sampled = ((key, min(about.get("records", 0), SAMPLE)) for key, about in newest)
    return {*_until(own, records), *_until(sampled, records)}


def _until(files: Iterator[tuple[str, int]], records: int) -> Iterator[str]:
    for key, n in files:
        if records <= 0:
            return
        yield key
        records -= n


# Files in quarantine.


def quarantined(days: int, now: float) -> Iterator[Removal]:
    """Files that have been in quarantine for so many days, with their reasons; 0 days keep all."""
    limit = before(days, now)
    if limit is None or not own_model.quarantine().is_dir():
        return
    for about in sorted(own_model.quarantine().glob("*.json")):
        held = about.with_name(about.name.removesuffix(".json"))
        if about.stat().st_mtime < limit:
            yield Removal(QUARANTINED, held.name, size_of([about, held]), partial(_remove_held, held, about))


def _remove_held(held: Path, about: Path) -> bool:
    with claims.claimed(held.name[:64], waits=False) as is_mine:
        if is_mine:
            held.unlink(missing_ok=True)  # before its reason: without that it would never be looked at again
            about.unlink(missing_ok=True)
        return is_mine


# Copies of versions.


def copies(days: int, now: float) -> Iterator[Removal]:
    """Copies of versions without an alias that were fetched so many days ago; 0 days keep all."""
    limit, folder = before(days, now), store.project_root() / paths.REGISTERED
    if limit is None or not folder.is_dir():
        return
    serving = _with_alias(folder)
    for copy in sorted(each for each in folder.iterdir() if _COPY.fullmatch(each.name) and each.is_dir()):
        if copy.stat().st_mtime < limit and copy.name not in serving:
            yield Removal(COPIES, copy.name, size_of([copy]), partial(_remove_copy, copy))


def _with_alias(folder: Path) -> Collection[str]:
    noted: Any = {}
    with suppress(ArtifactError):  # nothing was noted yet
        noted = read_json(folder / champion.POINTER)
    versions = [about for aliases in noted.values() for about in aliases.values()]
    return {champion.folder_of(each["number"], each["digest"]).name for each in versions}


def _remove_copy(copy: Path) -> bool:
    aside = copy.with_name(f".{copy.name}.{time.time_ns()}.tmp")  # a name for which nobody takes it for whole
    copy.rename(aside)
    temporary.remove(aside)
    return True
