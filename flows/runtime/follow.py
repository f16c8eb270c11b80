"""Let ``dvc.yaml`` follow each path of ``ingest.path``, and the file of ``evaluate.drills.file``.

::

    python -m flows.runtime.follow
"""

from pathlib import Path

from pipeline import config
from pipeline.artifacts.files import write_bytes
from pipeline.settings.followed import GRAPH, followed


def follow(root: Path) -> bool:
    """Write one dependency for each of them; returns whether that changed ``dvc.yaml``."""
    file = root / GRAPH
    if not file.is_file():
        return False
    before = file.read_text(encoding="utf-8")
    params = config.read(root / config.PARAMS)
    path, drills = params.get("ingest", {}).get("path", ""), params.get("evaluate", {}).get("drills", {})
    after = followed(before, path, drills.get("file", ""))
    if after != before:
        write_bytes(file, after.encode())
    return after != before


if __name__ == "__main__":
    follow(Path.cwd())
