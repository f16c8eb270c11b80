"""What a worker may use of its machine; see ``flows.runtime.gpu``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.settings.base import CountOrZero, Section


@dataclass(frozen=True)
class Workers(Section):
    """How many stages may have a GPU at the same time."""

    section: ClassVar[str] = "workers"
    gpu_workers: CountOrZero | Literal["auto"]
