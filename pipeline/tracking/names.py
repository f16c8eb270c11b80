"""What a project calls its experiment and its model: section ``tracking`` of its params.yaml.

Two clones that use one MLflow keep apart by these names alone. A folder without settings, or with settings of before
there were names, has the shipped ones.

They are read once in a process: whoever edits the file while a training runs neither stops nor moves what it logs.
"""

from functools import cache
from pathlib import Path
from typing import Final

from pipeline.settings.base import FILE
from pipeline.settings.tracking import SHIPPED, Tracking

DEFAULT: Final = Tracking(SHIPPED, SHIPPED)


@cache
def of(root: Path) -> Tracking:
    """The names of the project in a folder.

    Raises:
        ConfigError: the file cannot be read, or a name is not allowed.
    """
    from pipeline import config  # takes longer than to import this package

    path, name = root / FILE, Tracking.section
    content = path.read_bytes() if path.is_file() else b""
    params = config.parse(content, str(path)) if content.strip() else {}
    return config.checked(Tracking, params[name], name, str(path)) if name in params else DEFAULT
