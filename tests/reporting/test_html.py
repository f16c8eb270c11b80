"""A template escapes what it is given, knows the bricks, and refuses a name that it was not given."""

import pytest
from jinja2 import UndefinedError

from pipeline.reporting.html import Markup, page


@pytest.fixture
def template(tmp_path):
    def write(text):
        path = tmp_path / "mine.html"
        path.write_text('{% extends "base.html" %}{% block main %}' + text + "{% endblock %}")
        return path

    return write


def test_values_are_escaped_and_markup_is_not(template):
    html = page(template("{{ code(name) }}{{ shown }}"), title="<i>", name="<b>&", shown=Markup("<b>x</b>"))
    assert "<title>&lt;i&gt;</title>" in html
    assert "<code>&lt;b&gt;&amp;</code><b>x</b>" in html


def test_a_name_that_is_not_given_is_an_error(template):
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        page(template("{{ absent }}"), title="page")


def test_a_table_puts_numbers_at_the_right(template):
    text = '{% call(n) table(["name", "n"], [1], [3, 4]) %}{{ words("x") }}{{ numbers(n) }}{% endcall %}'
    html = page(template(text), title="page")
    assert '<th>name</th><th class="number">n</th>' in html
    assert '<tr><td>x</td><td class="number">3</td></tr>' in "".join(html.split("\n"))


def test_the_style_sheet_is_in_the_page_and_knows_a_dark_screen_and_paper(template):
    html = page(template(""), title="page")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "prefers-color-scheme: dark" in style and "@media print" in style
    assert "url(" not in style and "@import" not in style
