"""Where a worker says how the flows go; see ``flows.runtime.flow_metrics``."""

from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.settings.base import Section
from pipeline.settings.watch import Port


@dataclass(frozen=True)
class Prometheus(Section):
    """Where a worker answers Prometheus. The watch has settings of its own: ``watch.host`` and ``watch.port``.

    Attributes:
        host: address on which ``/metrics`` and ``/healthz`` answer.
        port: and its port; 0: nowhere. If it is taken, the worker says so and goes on.
    """

    section: ClassVar[str] = "prometheus"
    host: str
    port: Port

    @classmethod
    def absent(cls) -> dict[str, Any]:
        """As they are shipped."""
        return {"host": "127.0.0.1", "port": 9478}
