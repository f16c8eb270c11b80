"""A hook of the documentation's build: formulas become MathML, which a browser draws by itself."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def _mathml(formula: re.Match[str]) -> str:
    display = "block" if formula[1] == "div" else "inline"
    return convert(unescape(formula[2]), display=display)


def on_page_content(html: str, **_: Any) -> str:
    """The page with each formula as MathML."""
    return FORMULA.sub(_mathml, html)
