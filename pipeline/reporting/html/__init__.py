"""The one door to Jinja2: a page of HTML from a template, with the style sheet that all pages share.

::

    base.html     the frame of a page
    bricks.html   macros that every template can call: tables, badges, cards, figures
    style.css     the look, on a light and a dark screen and on paper

A page loads nothing: the style sheet and the pictures are in it. Jinja2 escapes every value that is not ``Markup``, and
a name that a template does not know is an error. A character that is not printable becomes an escape, also one that
turns the direction of writing.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.base.escaping import lines

__all__ = ["STYLE", "Markup", "page"]

STYLE: Final = Path(__file__).parent / "style.css"


def page(template: Path, **facts: Any) -> str:
    """The page that a template makes of facts. A template can include files of its own folder and of this one."""
    return _environment(template.parent).get_template(template.name).render(facts)


def _printable(value: Any) -> Any:
    return lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment(folder: Path) -> Environment:
    folders = FileSystemLoader([folder, Path(__file__).parent])
    environment = Environment(
        loader=folders,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= vars(environment.get_template("bricks.html").module)
    return environment
