"""What a project calls its experiment and its model: section ``tracking`` of its params.yaml.

Two clones that use one MLflow keep apart by these names alone. A folder without settings, or with settings of before
there were names, has the shipped ones.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from pipeline.settings.base import FILE
from pipeline.settings.tracking import SHIPPED, Tracking

DEFAULT: Final = Tracking(SHIPPED, SHIPPED)


def of(root: Path) -> Tracking:
    """The names of the project in a folder, as its params.yaml has them now.

    Raises:
        ConfigError: the file cannot be read, or a name is not allowed.
    """
    path = root / FILE
    content = path.read_bytes() if path.is_file() else b""
    return _in(content, str(path)) if content.strip() else DEFAULT


@lru_cache(maxsize=8)
def _in(content: bytes, where: str) -> Tracking:
    from pipeline import config  # takes longer than to import this package

    params = config.parse(content, where)
    name = Tracking.section
    return config.checked(Tracking, params[name], name, where) if name in params else DEFAULT
