"""Each promise of SECURITY.md names the tests that hold it."""

import ast
import re

from tests.documentation.pages import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PART = PAGE.split("## What is promised")[1].split("## What is not")[0]
PROMISES = re.split(r"^- ", PART, flags=re.MULTILINE)[1:]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_promise_names_a_test():
    assert len(PROMISES) > 20
    assert [each for each in PROMISES if not TEST.search(each)] == []


def test_each_test_that_is_named_is_there():
    named = {(file, name) for each in PROMISES for file, name in TEST.findall(each)}
    defined = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert named - defined == set()
