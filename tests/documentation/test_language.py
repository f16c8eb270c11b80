"""Sentences that people read are plain: phrases that had to be read twice do not come back.

Spelling is checked by ``codespell`` in ``make check``. The phrases are patterns; where one is wanted all the same, say
it in other words.
"""

import ast
import io
import re
import tokenize

import pytest
import yaml

from tests.documentation.pages import PAGES, ROOT, name, prose

SETTINGS = [ROOT / file for file in ("params.yaml", "benchmark.yaml", "dvc.yaml", "prefect.yaml", "mkdocs.yml")]
SETTINGS += sorted((ROOT / "presets").glob("*.yaml"))
TEXTS = [*PAGES, ROOT / "CHANGELOG.md"]
SOURCES = [path for room in ("pipeline", "flows", "benchmarks", "docs") for path in sorted((ROOT / room).rglob("*.py"))]

# Of sentences: what is told of what, by whom or of which; each with what to write.
ODD = {
    r"\b(is|are|was|were|be|been) told\b(?! apart)": "is given, is known, is shown",
    r"\btold (of|by|that)\b": "about, by, said",
    r"\btells? of\b": "has, lists, says about",
    r"\beach (of which|that which|of whose)\b": "a sentence of its own",
    r"\bof which (an|each|it is told)\b": "a sentence of its own",
    r"\b(is|are) to be had\b": "exists, can be reached",
    r"\brecords (speak|ask)\b": "a person asks; records show",
    r"\bcounts as much of\b": "is encoded with",
    r"\b(is|are) surely (at most|at least|not)\b": "with 95 % confidence",
    r"\bwhat can heal\b": "transient failures",
}
# Of pages and settings, where a reader has no code beside: these words at all.
ODD_WORDS = {
    r"\btold\b": "said, given, known",
    r"\bspelt\b": "written",
    r"\bjudges\b": "scores, tests, decides",
    r"\bsurely\b": "with the confidence that is meant",
    r"\bwhereof|thereof|therein|whereby\b": "of it, in it, by it",
}


def _found(text, patterns):
    """What a text has of the patterns, with what to write instead."""
    flat = re.sub(r"\s+", " ", text)
    hits = ((hit, better) for pattern, better in patterns.items() for hit in re.finditer(pattern, flat, re.IGNORECASE))
    return [f"... {flat[max(0, hit.start() - 40) : hit.end() + 30]} ... (better: {better})" for hit, better in hits]


def _comments(source):
    """Docstrings and comments of Python code; the lines of a comment that follow each other are one text."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return "\n\n.\n".join([*texts, " ".join(lines)])


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_a_page_reads_plainly(page):
    unquoted = re.sub(r"\"[^\"]+\"", "", prose(page))  # CONTRIBUTING.md quotes sentences that are not to come back
    assert _found(unquoted, ODD | ODD_WORDS) == []


@pytest.mark.parametrize("file", SETTINGS, ids=name)
def test_the_comments_of_settings_read_plainly(file):
    text = file.read_text(encoding="utf-8")
    assert yaml.safe_load(text.replace("!!python/", "")) is not None
    assert _found(" ".join(re.findall(r"#(.*)", text)), ODD | ODD_WORDS) == []


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_docstrings_and_comments_read_plainly(source):
    assert _found(_comments(source.read_text(encoding="utf-8")), ODD) == []


def test_an_odd_sentence_is_found():
    assert len(_found("It is told of what\nthe records ask.", ODD)) == 3
    assert _found(_comments('"""A file, each of which that is."""\n# is told\n'), ODD) != []
    assert _found(_comments('text = "is told"\n'), ODD) == []
