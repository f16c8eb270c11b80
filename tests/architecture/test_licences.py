"""No library binds this project to a licence that it does not have; each exception has its reason."""

from email.message import Message

import pytest

from docs.tools import licences
from pipeline.serving import libraries
from pipeline.serving.libraries import Library, closure, is_allowed, policy

RUN, MORE = licences.requirements()
NEEDED, EVERY = closure(RUN), closure([*RUN, *MORE])
PINS = dict(line.split("==") for line in (licences.ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


def objections(found):
    """The libraries that the policy refuses: name -> licence."""
    excepted = {name: each["licence"] for name, each in policy()["exceptions"].items()}
    return {
        name: each.licence
        for name, each in found.items()
        if not is_allowed(each.licence) and excepted.get(name) != each.licence
    }


def test_the_licence_of_each_library_is_known_and_allowed():
    assert len(NEEDED) > 150 and len(EVERY) > len(NEEDED)
    assert objections(EVERY) == {}


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "AGPL-3.0-or-later", "MIT AND GPL-2.0-only", "SSPL-1.0", ""])
def test_a_licence_that_binds_or_is_unknown_is_refused(licence):
    assert objections({"made-up": Library("made-up", "1", licence, ())}) == {"made-up": licence}


@pytest.mark.parametrize("licence", ["MIT OR GPL-3.0-only", "Apache-2.0 AND (MIT OR GPL-2.0-only)"])
def test_one_allowed_choice_is_enough(licence):
    assert is_allowed(licence)


def test_an_exception_is_of_one_library_and_one_licence_and_a_tool_is_no_part_of_a_run():
    assert objections({"codespell": Library("codespell", "1", "GPL-3.0-only", ())})
    for name, each in policy()["exceptions"].items():
        assert each["reason"] and each["licence"] == EVERY[name].licence
        assert not each["tools"] or name not in NEEDED


def test_the_policy_names_no_library_that_is_gone():
    assert {*policy()["exceptions"], *policy()["stated"]} <= {*EVERY} <= {*PINS, "flowsculpt"}


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ({"License-Expression": "MIT AND Zlib", "License": "BSD"}, "MIT AND Zlib"),
        ({"License": "Apache License 2.0"}, "Apache-2.0"),
        ({"License": "Copyright of somebody", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"License": "my own"}, ""),
    ],
)
def test_what_metadata_say_becomes_an_expression(headers, licence):
    told = Message()
    told["Name"] = "made-up"
    for name, value in headers.items():
        told[name] = value
    assert libraries.licence(told) == licence


def test_the_page_names_each_library_that_is_pinned_and_installed():
    page = licences.PAGE.read_text(encoding="utf-8")
    for name, each in EVERY.items():
        if PINS.get(name) == each.version:
            assert licences.row(each, name in NEEDED) in page, "run make licences"
