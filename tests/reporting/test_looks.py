"""The page in a browser: nothing is cut off, on a narrow screen, on a wide one and on paper."""

import json

import pytest

from pipeline.reporting.page import render
from tests.end_to_end.browser import PROGRAM, browser
from tests.reporting.test_page import facts

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium, which is not installed here")
A4 = 688  # CSS pixels between the margins of the style sheet
HASHES = {f"data/processed/{name}.parquet": 64 * "a" for name in ("train", "test_unseen")}
ATTACKS = {"web_sql_injection": 3, "dos_slowhttptest": 400, "infiltration": 40}
REASON = {"attack": "dos_slowhttptest", "stage": "detector", "feature": "(total_length_fwd + 1) / (duration + 1)"}
REASONS = [REASON | {"record_id": 16 * "b", "rank": "1", "value": "0.25", "reference": "1", "contribution": "0.99"}]
# What reaches beyond the window and stands in no box that scrolls.
OUTSIDE = """[...document.querySelectorAll("body *")]
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
    .filter(each => matchMedia("print").matches || !each.closest(".scroll")).map(each => each.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(facts(ATTACKS, hashes=HASHES, explanations=REASONS)))
    with browser() as page:
        page.open(path.as_uri(), "Attack by attack", "Lineage")
        yield page


@pytest.mark.parametrize("width", [400, 1000, 1300, 1500])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_table_is_cut_off_on_a_screen(page, width, scheme):
    page.size(width, 900, scheme)
    assert page.script(f"JSON.stringify({OUTSIDE})") == "[]"
    assert page.script("document.documentElement.scrollWidth") <= width


def test_no_table_is_cut_off_on_paper(page):
    page.size(A4, 900)
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.script(f"JSON.stringify({OUTSIDE})") == "[]"
    page.call("Emulation.setEmulatedMedia", media="")


def test_words_stand_out_from_a_dark_page(page):
    page.size(1000, 900, "dark")
    colours = "JSON.stringify((style => [style.color, style.backgroundColor])(getComputedStyle(document.body)))"
    ink, paper = (sum(map(int, colour[4:-1].split(","))) for colour in json.loads(page.script(colours)))
    assert ink > 600 and paper < 150
