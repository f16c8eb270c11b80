"""Where partitions of the records are worked on."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, Count, Section, Shape


@dataclass(frozen=True)
class Tls(Shape):
    """PEM files of TLS; all of them, or none: then Dask's own configuration says it.

    Attributes:
        ca: certificates of whom to trust.
        certificate: of this project's processes.
        key: its private key.
    """

    ca: str
    certificate: str
    key: str


@dataclass(frozen=True)
class Engine(Section):
    """Where partitions of the records are worked on; see ``pipeline.base.engine``. No result depends on it.

    Attributes:
        use: ``local``: this process. ``dask``: the workers of a Dask cluster; needs the extra ``dask``.
        address: of its scheduler; "": workers on this machine, for as long as they are needed.
        workers: how many of these; ``auto``: one for each core.
        tls: files, for a scheduler at ``tls://``.
    """

    section: ClassVar[str] = "engine"
    use: Literal["local", "dask"]
    address: Annotated[str, Bounds(pattern=r"^$|^(tcp|tls|ws|wss)://")]
    workers: Count | Literal["auto"]
    tls: Tls
