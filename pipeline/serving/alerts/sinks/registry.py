"""Sinks by name, as ``params.yaml`` spells it."""

from typing import Final

from pipeline.serving.alerts.sinks.base import Sink
from pipeline.serving.alerts.sinks.ecs import Ecs
from pipeline.serving.alerts.sinks.eve import Eve
from pipeline.serving.alerts.sinks.parquet import Parquet
from pipeline.serving.alerts.sinks.syslog import Syslog
from pipeline.serving.alerts.sinks.webhook import Webhook

SINKS: Final[dict[str, type[Sink]]] = {
    "eve": Eve,
    "ecs": Ecs,
    "syslog": Syslog,
    "webhook": Webhook,
    "parquet": Parquet,
}
