"""The one door to what Prefect shows of a flow run: its artefacts and its log.

The words of artefacts are Markdown there, in a description and in each cell of a table, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import artifacts, logging

from pipeline.base.escaping import Log, in_markdown, lines


def create_markdown_artifact(markdown: str, key: str, description: str | None = None) -> None:
    """Show a page, whose foreign words ``pipeline.base.escaping`` has escaped."""
    artifacts.create_markdown_artifact(lines(markdown), key=key, description=_about(description))


def create_table_artifact(table: Sequence[Mapping[str, Any]], key: str, description: str | None = None) -> None:
    """Show rows."""
    rows: list[dict[str, Any]] = [{in_markdown(name): _cell(value) for name, value in row.items()} for row in table]
    artifacts.create_table_artifact(rows, key=key, description=_about(description))


def get_run_logger() -> Log:
    """The log of the flow run, or of the task run, that this is called in."""
    return Log(logging.get_run_logger())


def _cell(value: Any) -> Any:
    return in_markdown(value) if isinstance(value, str) else value


def _about(description: str | None) -> str | None:
    return description and in_markdown(description)
