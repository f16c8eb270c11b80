"""The page as a whole."""

import base64
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.reporting.figures import style
from pipeline.reporting.html import page
from pipeline.reporting.page.cited import NONE, percent
from pipeline.reporting.page.facts import Facts

MOST: Final = 12  # names in a line
PROTOCOLS: Final = {"0": "none", "1": "ICMP", "6": "TCP", "17": "UDP"}  # IANA
FIGURES: Final = {
    "roc_pr": "Recall against false positive rate, and precision against recall",
    "recall_per_attack": "Recall of each attack with its interval",
    "score_histogram": "Scores of benign records, seen and unseen attacks",
    "confusion": "Verdicts against the truth",
    "calibration_curve": "Promised against realised false positive rate",
    "latent_map": "Where benign records, seen and unseen attacks lie in the latent",
    "class_counts": "Records of each class",
}


class Published(NamedTuple):
    """AUROC, balanced F1 and the benign FPR at which it was reached, of unseen and of seen attacks."""

    threshold: str
    unseen: tuple[str, str, str]
    seen: tuple[str, str, str]


# Chhetri, Thapa, Chen, "Latent Sculpting" (arXiv 2512.22179, 2025), version 1; rates from its recorded output.
LATENT_SCULPTING: Final = (
    Published("p99", ("0.902", "0.674", "5.7 %"), ("0.967", "0.963", "6.1 %")),
    Published("p97", ("0.902", "0.738", "7.8 %"), ("0.967", "0.954", "8.0 %")),
    Published("p95", ("0.902", "0.870", "9.9 %"), ("0.967", "0.945", "9.9 %")),
)


def render(facts: Facts) -> str:
    """The page as HTML, which refers to nothing outside itself."""
    return page(
        Path(__file__).with_name("report.html"),
        title=f"Attack detection on {facts.source('dataset')}",
        facts=facts,
        metrics=facts.metrics,
        source=facts.source,
        splits=facts.splits,
        audit=facts.audit,
        shortcuts=facts.shortcuts,
        level=facts.level,
        own_recalls=_headed("recall at own {} FPR", facts.fprs),
        headed=_headed,
        figures=[(alt, _base64(facts.figures[name])) for name, alt in FIGURES.items() if name in facts.figures],
        models={name: described(about) for name, about in facts.models.items()},
        number=_number,
        percent=percent,
        published=LATENT_SCULPTING,
        protocols=PROTOCOLS,
        most=MOST,
        none_shown=NONE,
    )


def described(about: Mapping[str, Any]) -> str:
    """Settings of a model; its columns, weights and hashes are left to its file."""
    settings: dict[str, Any] = {}
    for key, value in about.items():
        if isinstance(value, Mapping) and all(map(_is_short, value.values())):
            settings |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif _is_short(value) and not key.endswith("sha256"):
            settings[key] = value
    return ", ".join(f"{name} {_setting(value)}" for name, value in settings.items())


def _is_short(value: Any) -> bool:
    plain = (str, int, float)
    short = isinstance(value, list) and len(value) <= 4 and all(isinstance(item, plain) for item in value)
    return value is None or short or isinstance(value, plain)


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _headed(title: str, shares: Iterable[str]) -> list[str]:
    return [title.format(percent(share)) for share in shares]


def _number(text: str) -> str:
    """A number of a CSV as people read it; any other text as it is."""
    try:
        value = float(text)
    except ValueError:
        return text
    return text if math.isnan(value) else style.brief(value)


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
