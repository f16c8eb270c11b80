"""Foreign text in each medium: it is shown as it is spelt, and does nothing there."""

import html
import logging
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.base import escaping
from pipeline.base.csv_cells import from_cell, in_cell
from pipeline.base.errors import DataError, ScoringError
from pipeline.base.escaping import (
    SPACES,
    fenced,
    in_code,
    in_figure,
    in_markdown,
    lines,
    on_terminal,
    printable,
    strong,
    table,
)
from pipeline.reporting.figures import style

LAYOUT = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
LIVE = [
    "[x](javascript:alert(1))",
    "![x](https://evil.example/a.png)",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<https://evil.example>",
    "**bold** __bold__ _it_ ~~gone~~ `code`",
    "a | b \\| c",
    "# heading",
    "- list",
    "1. list",
    "--",
    "===",
    "> quoted",
    "a\n\n## Failed",
    "```",
    "&lt;b&gt; &amp; &#91;",
    "\x1b[2Jgone \u202egnp.exe",
    "[a]: https://evil.example",
    "caf\udce9",
]
texts = st.text(st.sampled_from([*"[](){}<>!\\`*_~|#-+=.:/&;@ 1aw\n\t\r\x1b\u202e\ud800é"]), max_size=30)


def tokens(page):
    """Kinds of all parts of a page, those within a paragraph included."""
    return [each.type for part in LAYOUT.parse(page) for each in (part, *(part.children or ()))]


def words(page):
    """The words that a reader sees."""
    parts = [each for part in LAYOUT.parse(page) for each in part.children or ()]
    return "".join(each.content for each in parts if each.type in ("text", "code_inline"))


@pytest.mark.parametrize("text", LIVE)
def test_words_are_words_in_a_paragraph_and_in_an_item_of_a_list(text):
    around = ["paragraph_open", "inline", "text", "paragraph_close"]
    for page, wanted in ((in_markdown(text), around), (f"- {in_markdown(text)}", None)):
        found = tokens(page)
        assert set(found) <= {*around, "bullet_list_open", "list_item_open", "list_item_close", "bullet_list_close",
                              "text_special"}, page  # fmt: skip
        assert wanted is None or found[0] == "paragraph_open"
        assert words(page) == printable(text).strip()


@pytest.mark.parametrize("text", LIVE)
def test_a_cell_of_a_table_ends_where_it_should(text):
    page = table(["name", text], [[text, "1"], [strong(text), "2"]], ["---", "---:"])
    rows = [part for part in LAYOUT.parse(page) if part.type == "inline"]
    assert [len(rows), rows[1].content, rows[3].content] == [6, rows[2].content, "1"]
    assert words(page).count(printable(text).strip()) >= 3
    assert not {"link_open", "image", "html_inline", "html_block", "s_open", "em_open"} & set(tokens(page))


@pytest.mark.parametrize("text", [*LIVE, "`", "``", " `a` ", ""])
def test_code_ends_where_it_should(text):
    if text:
        found = [each for part in LAYOUT.parse(f"a {in_code(text)} b") for each in part.children or ()]
        assert [each.type for each in found] == ["text", "code_inline", "text"]
        assert found[1].content.strip() == printable(text).strip()
    (block,) = LAYOUT.parse(fenced(f"{text}\n```\n# no heading"))
    assert (block.type, block.content) == ("fence", lines(f"{text}\n```\n# no heading\n"))


@given(texts)
@example(" -")
def test_no_text_makes_anything_of_itself(text):
    page = in_markdown(text)
    assert not set(tokens(page)) - {"paragraph_open", "inline", "text", "text_special", "paragraph_close", "softbreak",
                                    "code_block"}  # fmt: skip
    assert page.translate(dict.fromkeys(map(ord, SPACES), " ")).isprintable()
    assert on_terminal(page) == printable(text)
    assert "\n" not in printable(text) and lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ["www.evil.example", "HTTPS://evil.example", "ftp://evil.example", "a@evil.example"])
def test_an_address_is_no_link_where_the_layout_makes_links_of_addresses(text):
    page = in_markdown(text)
    assert html.unescape(page) == text
    assert not any(mark in page.lower() for mark in ("www.", "://", "@"))


def test_a_space_that_no_line_may_end_at_stays():
    assert printable("20\u00a0%") == in_markdown("20\u00a0%") == in_figure("20\u00a0%") == "20\u00a0%"


def test_plain_words_stay_as_they_are():
    for text in ("Web Attack - Brute Force", "10.0.0.5:80", "src_ip", "a (b), c; d: 97.5 %", "-5", "x = 1", "é"):
        assert in_markdown(text) == in_cell(text) == in_figure(text) == text


# Cells of a CSV.

FORMULAS = ["=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(A1)", "＝1+1", "'=1", "''@a"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe_and_is_read_back(text):
    assert in_cell(text) == f"'{text}"
    assert from_cell(in_cell(text)) == text


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\x1b=1"])
def test_a_cell_begins_with_no_tab_and_no_line_break(text):
    assert in_cell(text)[0] == "\\" and in_cell(text).isprintable()


@pytest.mark.parametrize("value", [-1.5, 3, None, True, "-1.5", "+2e-3", "-inf", "-", "'a", "a=b", "0x1"])
def test_numbers_and_words_stay_as_they_are(value):
    assert in_cell(value) == value
    if isinstance(value, str):
        assert from_cell(value) == value


@given(st.text())
@example("@")
def test_every_printable_word_is_read_back(text):
    word = printable(text)
    assert from_cell(in_cell(word)) == word
    assert word in {*"=@"} or in_cell(text)[:1] not in {*"=@\t\r\n"}  # a sign alone computes nothing


# Figures.


@pytest.mark.parametrize("text", ["$\\frac$", "$x$", "\\$", "a$b", "$", "_hidden", "\x1b[2J", "a--b", "\u202ea"])
def test_a_name_is_drawn_as_it_is_spelt(text):
    figure, (ax,) = style.canvas((6, 3), text, text, text)
    ax.plot([0, 1], [0, 1], label=in_figure(text))
    style.rows(ax, [text, "benign"])
    style.label(ax, text, text, text)
    style.key(ax)
    (legend,) = ax.get_legend().get_texts()
    assert legend.get_text().replace("\\$", "$").strip() == printable(text)
    ElementTree.fromstring(style.svg(figure))


# Logs and errors.


def test_a_line_of_a_log_is_one_line(caplog):
    log = escaping.Log(escaping.log("flowsculpt.test"))
    with caplog.at_level(logging.INFO):
        log.info("%s: done", "a\n2026-01-01 forged\x1b[2J")
        log.warning("100 %")
        log.debug("nobody asks")
    assert caplog.messages == ["a\\n2026-01-01 forged\\x1b[2J: done", "100 %"]
    assert {record.funcName for record in caplog.records} == {"test_a_line_of_a_log_is_one_line"}


def test_a_traceback_in_a_log_has_no_escapes(caplog):
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        escaping.log("flowsculpt.test").exception("failed")
    assert "\x1b" not in caplog.text and "ValueError: \\x1b[2J" in caplog.text


def test_the_message_of_an_error_is_one_line_unless_its_lines_are_ours():
    assert str(DataError("a\n\x1b.csv: is empty")) == "a\\n\\x1b.csv: is empty"
    assert str(ScoringError("first\nsecond \x1b")) == "first\nsecond \\x1b"
