"""The software that results depend on: what this process has, and how that of another one differs."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

COMPARED: Final = ("flowsculpt", "numpy", "pyarrow", "pandas", "scikit-learn", "scipy", "torch", "distributed")
PACKAGE: Final = Path(__file__).parents[1]


@cache
def versions() -> Mapping[str, str]:
    """The version of each package that results depend on; that of flowsculpt with a hash of its code."""
    from importlib import metadata

    found = {name: metadata.version(name) for name in COMPARED}
    code = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        code.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return found | {"flowsculpt": f"{found['flowsculpt']} with code {code.hexdigest()[:12]}"}


def difference(mine: Mapping[str, str], theirs: Mapping[str, str], place: str) -> str:
    """How the versions of a place differ from those here, in words; "" where they do not."""
    unlike = [name for name in mine if theirs.get(name) != mine[name]]
    if not unlike:
        return ""
    other = [f"{name} {theirs.get(name, 'none')} there, {mine[name]} here" for name in unlike]
    return f"{place} has other versions, and its results could differ: {'; '.join(other)}; install the same everywhere"
