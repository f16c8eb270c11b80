"""The page stands alone, tells what metrics.json tells, and lets no name become markup."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.evaluation import sections
from pipeline.reporting.page import Facts, render
from pipeline.reporting.page.cited import Document
from tests.settings import asked_with

HOSTILE = "\"'><script src=//evil.example/x.js></script><img src=x onerror=alert(1)>&amp;a/b~c"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "h3", "p", "ul", "li"),
    *("b", "small", "span", "div", "table", "thead", "tbody", "tr", "th", "td", "data", "code", "dl", "dt", "dd"),
    *("figure", "img", "svg", "rect", "path"),
}
PLACES = {
    "metrics": "data/reports/metrics.json",
    "source": "source.json",
    "splits": "splits.json",
    "audit": "summary.json",
    "shortcuts": "shortcuts.json",
}


class Page(HTMLParser):
    """Elements and texts of a page; ``figures`` holds (title, value, shown text) of each ``<data>``."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.figures, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "data":
            self.figures.append([dict(attrs)["title"], dict(attrs)["value"], ""])

    def handle_data(self, data):
        self.text += re.sub("[ \n]+", " ", data)  # as a browser shows it
        if self.figures and not self.figures[-1][2]:
            self.figures[-1][2] = data


def section(sizes, shift, seed):
    """A section of metrics.json for attacks of the given sizes."""
    random, asked = np.random.default_rng(seed), asked_with({"p99": 0.01, "p95": 0.05}, 400, rounds=100)
    attack = np.repeat(["benign", *sizes], [300, *sizes.values()])
    y = (attack != "benign").astype(int)
    score = random.standard_normal(y.size) + shift * y
    flagged = {"p99": score > 2.33, "p95": score > 1.64}
    report = sections.report(y, attack, score, flagged, asked)
    feature = {"feature": HOSTILE, "direction": "high", "auroc": 0.7, "auroc_val": 0.8}
    alone = {"thresholds": {"published": report["thresholds"]["p99"]}, "auroc": report["auroc"]}
    masks = {name: mask[y == 0] for name, mask in flagged.items()}
    recalls = {name: report["thresholds"][name]["recall"] for name in flagged}
    promised = sections.guarantee(masks, {"unseen": recalls, "seen": recalls}, asked)
    groups = np.resize(np.array(["6", "17", HOSTILE, ""], dtype=object), 300)
    by_protocol = sections.by_group(masks, groups, {"6": asked_with({"p99": 0.01, "p95": 0.05}, 100)})
    promised["by"] = "protocol"
    promised["groups"] = {"protocol": by_protocol, HOSTILE: sections.by_group(masks, groups, {})}
    labels = np.where(np.arange(300) < 4, "doubted", "others")
    promised["doubted_labels"] = sections.by_group(masks, labels, {"others": asked})
    return {**report, "one_feature": feature, "stage1_only": alone}, promised


def facts(unseen, seen=None, dataset="cicids2017", synthetic=False, threshold="p99", **others):
    seen = {"ddos": 200} if seen is None else seen
    (first, promised), (second, _) = section(unseen, 3.0, 0), section(seen, 5.0, 1)
    about = {"dataset": dataset, "synthetic": synthetic, "fusion": "fisher"}
    source = {"dataset": dataset, "synthetic": synthetic, "records": 12345, "rejected": 6}
    copies = {"repeated": 70, "disagreeing_labels": 8, "disagreeing_attacks": 9}
    broken = {"passed": False, "columns": [HOSTILE], "text": HOSTILE}
    audit = {"rows": 12345, "expectations": 20, "duplicates": copies, "findings": [broken]}
    splits = {"left_out": {HOSTILE: 3}, "hidden": {}}
    documents = {
        "metrics": {**about, "seen": second, "unseen": first, "guarantee": promised},
        "source": source,
        "splits": splits,
        "audit": audit,
        "shortcuts": {"means": {"leak": f"One feature tells all: {HOSTILE}", "day": "One day alone has them."}},
    }
    shown = {name: Document(PLACES[name], content) for name, content in documents.items()}
    return Facts(**shown, threshold=threshold, figures={"roc_pr": SVG, "confusion": SVG}, **others)


EXPLAINED = [
    {
        "record_id": HOSTILE,
        "attack": HOSTILE,
        "stage": HOSTILE,
        "rank": "1",
        "feature": HOSTILE,
        "value": value,
        "reference": "0.25",
        "contribution": "12.5",
    }
    for value in ("1.5", HOSTILE, "nan")
]
UNSEEN = {"bot": 100, "web/x~y": 40, "rare": 3}
CASES = {
    "plain": lambda: facts(UNSEEN),
    "p95": lambda: facts(UNSEEN, threshold="p95"),
    "synthetic": lambda: facts(UNSEEN, dataset="synthetic", synthetic=True),
    "no unseen attacks": lambda: facts({}),
    "no attacks": lambda: facts({}, {}),
    "few of each": lambda: facts({"rare": 3}, {"rarer": 1}),
    "hostile": lambda: facts(
        {HOSTILE: 30},
        {HOSTILE + "2": 30},
        dataset=HOSTILE,
        explanations=EXPLAINED,
        models={HOSTILE: {HOSTILE: HOSTILE}},
        versions={HOSTILE: HOSTILE},
        hashes={HOSTILE: HOSTILE},
    ),
}


@pytest.fixture(params=CASES)
def told(request):
    return CASES[request.param]()


def _at(document, pointer):
    for key in pointer.split("/")[1:]:
        document = document[key.replace("~1", "/").replace("~0", "~")]
    return document


def test_what_the_audit_found_is_told_where_it_was_made(told):
    text = Page(render(told)).text
    assert "One feature tells all" in text and "One day alone has them." in text
    absent = Page(render(replace(told, shortcuts=None))).text
    assert "One day alone has them." not in absent and "The shortcut audit of validate is absent" in absent


def test_every_figure_is_that_of_the_file_that_it_names(told):
    figures = Page(render(told)).figures
    files = {each.name: each.content for each in (told.metrics, told.source, told.splits, told.audit)}
    assert len(figures) > 40
    for title, value, text in figures:
        name, pointer = title.split("#")
        assert float(value) == _at(files[name], pointer)
        number, unit = re.fullmatch("<?([0-9.,]+)(\N{NO-BREAK SPACE}%)?", text).groups()
        interval = re.search("(low|high)$", pointer)  # the unit stands behind its upper end
        scale = 100 if unit or (interval and "auroc" not in pointer) else 1
        assert float(number.replace(",", "")) == pytest.approx(scale * float(value), rel=6e-3, abs=6e-4)


def test_it_names_nothing_outside_itself_and_runs_nothing(told):
    elements = Page(render(told)).elements
    assert {tag for tag, _ in elements} <= TAGS
    for _, attributes in elements:
        assert not {name for name in attributes if name.startswith("on") or name in {"href", "srcset", "action"}}
        assert attributes.get("src", "data:").startswith("data:image/svg+xml;base64,") or "src" not in attributes
        assert "url(" not in attributes.get("style", "")
    policy = next(attributes for _, attributes in elements if "http-equiv" in attributes)
    assert policy["content"].startswith("default-src 'none'")
    style = re.search("<style>(.*?)</style>", render(told), re.DOTALL).group(1)
    assert "url(" not in style and "@import" not in style


def test_the_glossary_is_called_words(told):
    assert "Words" in re.findall(r"<h2>(.*?)</h2>", render(told))


def test_no_name_becomes_markup():
    page = Page(render(CASES["hostile"]()))
    assert page.text.count(HOSTILE) > 20
    assert not [tag for tag, attributes in page.elements if tag == "script" or attributes.get("src") == "x"]


def test_the_same_facts_give_the_same_bytes(told):
    assert render(told) == render(told)
    again = Document(PLACES["metrics"], json.loads(json.dumps(told.metrics.content)))
    assert render(told) == render(Facts(**{**vars(told), "metrics": again}))


def test_the_result_is_three_sentences_at_the_threshold_of_the_settings():
    for threshold in ("p99", "p95"):
        told = facts(UNSEEN, threshold=threshold)
        text = Page(render(told)).text.replace("\N{NO-BREAK SPACE}", " ")
        recall = told.metrics("unseen", "thresholds", threshold, "recall")
        nominal = {"p99": "1 %", "p95": "5 %"}[threshold]
        assert f"Set to raise a false alarm on {nominal} of benign records, this detector finds" in text
        assert f"{100 * recall:.3g} % of the 143 attack records of kinds that it was never shown" in text
        assert "in every million benign records" in text and "nobody can promise" in text


def test_it_says_what_is_missed():
    told = facts({"hidden": 50, "loud": 50})
    weak = told.metrics.content["unseen"]["recall_by_attack"]["hidden"]["p99"]
    weak["recall"] = 0.02
    text = Page(render(told)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "It misses most of hidden (2 % of 50 found)" in text


def test_no_rate_is_promised_of_attacks_that_are_absent_or_few():
    assert "says nothing of attacks that the detector was not shown" in Page(render(facts({}))).text
    assert "How many attacks this detector finds is not known" in Page(render(facts({}, {}))).text
    few = Page(render(facts({"rare": 3}))).text
    assert "No unseen kind has the 5 records from which a rate can be told" in few
    assert "Fewer than 5 test records: rare" in few


def test_published_figures_stand_only_beside_records_of_their_data_set():
    assert "Latent Sculpting" in render(facts(UNSEEN))
    assert "Latent Sculpting" not in render(facts(UNSEEN, dataset="nslkdd"))


def test_synthetic_records_are_called_so():
    assert "Synthetic data." in render(facts(UNSEEN, dataset="synthetic", synthetic=True))
    assert "ynthetic" not in render(facts(UNSEEN))


def test_a_promise_that_is_not_kept_is_called_so():
    told = facts(UNSEEN)
    assert "not kept" not in render(told)
    told.metrics.content["guarantee"]["levels"]["p95"]["within"] = False
    assert "not kept" in render(told)


def test_false_alarms_are_shown_without_the_labels_that_are_doubted():
    told = facts(UNSEEN)
    doubted = told.metrics.content["guarantee"]["doubted_labels"]
    text = Page(render(told)).text
    assert "Of the 300 benign test records 4 went between two hosts when most of their records were attacks." in text
    assert "296 benign records are left" in text
    del doubted["doubted"]  # none of them is a test record
    text = Page(render(told)).text
    assert "None of the 300 benign test records has a label that validate doubts." in text
    del told.metrics.content["guarantee"]["doubted_labels"]
    assert "labels that are doubted" not in render(told)


def test_explanations_are_shown_where_there_are_any():
    assert "Why alerts were raised" not in render(facts(UNSEEN))
    rows = [{**EXPLAINED[0], "record_id": f"{i // 9:016x}", "feature": f"<{i}>"} for i in range(900)]
    text = Page(render(facts(UNSEEN, explanations=rows))).text
    assert "Why alerts were raised" in text
    assert re.findall("<([0-9]+)>", text) == [str(9 * alert + i) for alert in range(10) for i in range(4)]
    told = [{**EXPLAINED[0], "reason": "syn_flag_count 43; 98 of 100 benign records: <0> to 2"}]
    assert told[0]["reason"] in Page(render(facts(UNSEEN, explanations=told))).text


def test_an_area_is_never_rounded_up_to_perfection():
    document = Document("x.json", {"near": 0.99999, "perfect": 1.0, "half": 0.5})
    shown = [Page(document.area(name)).text for name in ("near", "perfect", "half", "absent")]
    assert shown == ["0.9999", "1.0000", "0.5000", "–"]
