"""Pages in a browser: nothing is cut off, on a narrow screen, on a wide one and on paper."""

import json
from pathlib import Path

import pytest
from dvc_render.html import render_html
from dvc_render.image import ImageRenderer

from pipeline.reporting.page import render
from tests.end_to_end.browser import PROGRAM, browser
from tests.reporting.test_page import facts

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium, which is not installed here")
ROOT = Path(__file__).parents[2]
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
def screen():
    with browser() as page:
        yield page


@pytest.fixture
def page(screen, tmp_path):
    """The report in a browser."""
    path = tmp_path / "report.html"
    path.write_text(render(facts(ATTACKS, hashes=HASHES, explanations=REASONS)))
    screen.call("Emulation.setEmulatedMedia", media="")
    screen.open(path.as_uri(), "Attack by attack", "Lineage")
    return screen


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


def test_words_stand_out_from_a_dark_page(page):
    page.size(1000, 900, "dark")
    colours = "JSON.stringify((style => [style.color, style.backgroundColor])(getComputedStyle(document.body)))"
    ink, paper = (sum(map(int, colour[4:-1].split(","))) for colour in json.loads(page.script(colours)))
    assert ink > 600 and paper < 150


@pytest.mark.parametrize(("width", "media"), [(400, "screen"), (1000, "screen"), (A4, "print")])
def test_no_figure_of_dvc_is_cut_off(screen, tmp_path, width, media):
    """``dvc plots show`` puts each figure into boxes with styles of their own."""
    (tmp_path / "wide.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="1100" height="400"/>')
    renderer = ImageRenderer([{"src": "wide.svg", "rev": "workspace"}], "wide.svg")
    path = Path(render_html([renderer], tmp_path / "index.html", ROOT / ".dvc" / "plots.html"))
    screen.open(path.as_uri(), "flowsculpt: plots", "workspace")
    screen.size(width, 900)
    screen.call("Emulation.setEmulatedMedia", media=media)
    assert screen.script("document.documentElement.scrollWidth") <= width
    assert screen.script("document.querySelector('img').getBoundingClientRect().right") <= width
