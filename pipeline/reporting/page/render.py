"""The page as a whole."""

from html import escape

from pipeline.reporting.page.comparison import comparison
from pipeline.reporting.page.facts import Facts
from pipeline.reporting.page.guarantees import caveats, false_alarms, guarantees
from pipeline.reporting.page.markup import banner, figure, section
from pipeline.reporting.page.provenance import alerts, lineage, words
from pipeline.reporting.page.result import attacks, headline, results, sentences
from pipeline.reporting.page.style import STYLE

NOTHING_FROM_ELSEWHERE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FIGURES = {
    "roc_pr": "Recall against false positive rate, and precision against recall",
    "recall_per_attack": "Recall of each attack with its interval",
    "score_histogram": "Scores of benign records, seen and unseen attacks",
    "confusion": "Verdicts against the truth",
    "calibration_curve": "Promised against realised false positive rate",
    "latent_map": "Where benign records, seen and unseen attacks lie in the latent",
    "class_counts": "Records of each class",
}


def render(facts: Facts) -> str:
    """The page as HTML, which refers to nothing outside itself."""
    title = f"Attack detection on {facts.source('dataset')}"
    told = "simulated records" if facts.synthetic else "records"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{NOTHING_FROM_ELSEWHERE}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style>'
    )
    body = "\n".join(
        (
            f"<header><h1>{escape(title)}</h1><p>flowsculpt, {facts.source.count('records')} {told}</p></header>",
            _synthetic(facts),
            sentences(facts),
            headline(facts),
            results(facts),
            attacks(facts),
            false_alarms(facts),
            comparison(facts),
            guarantees(facts),
            caveats(facts),
            _figures(facts),
            alerts(facts),
            lineage(facts),
            words(),
        )
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _synthetic(facts: Facts) -> str:
    if not facts.synthetic:
        return ""
    return banner(
        "<b>Synthetic data.</b> These figures show that the pipeline works, and nothing about real traffic.", "warn"
    )


def _figures(facts: Facts) -> str:
    shown = [figure(facts.figures[name], alt) for name, alt in FIGURES.items() if name in facts.figures]
    return section("Figures", *shown) if shown else ""
