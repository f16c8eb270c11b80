"""What the repository promises about itself."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRACKED = [ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()]
SOURCES = [path for path in TRACKED if path.suffix == ".py" and path.parts[len(ROOT.parts)] in {"pipeline", "flows"}]


def test_the_sources_are_found():
    assert len(SOURCES) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_swallowed_error_no_unsafe_load(path):
    text = path.read_text()
    assert not re.search(
        r"\bimport pickle\b|\bjoblib\b|torch\.(save|load)\(|allow_pickle=True|weights_only=False", text
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception":
            assert not all(isinstance(statement, ast.Pass) for statement in node.body), f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


# The map of the house, a block of docs/architecture.md: floor, room, what it is; two rooms to a line if they fit.

PAGE = (ROOT / "docs" / "architecture.md").read_text()
BLOCK = re.compile(r"^## The map of the house$.*?^```text$\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BESIDE = {"and", "their", "parts"}  # words that stand among the names of the stages


def _map(page):
    """Floor -> its rooms -> what stands behind each."""
    block = BLOCK.search(page)
    assert block, "docs/architecture.md has no map of the house"
    floors, rooms, room = {}, {}, ""
    for line in block[1].splitlines():
        number, indent, text = re.fullmatch(r"(\d*)(\s+)(\S.*)", line).groups()
        if len(number + indent) > 3:  # the line goes on with what the one above says
            rooms[room] += f" {text}"
            continue
        rooms = floors.setdefault(int(number), {}) if number else rooms
        cells = re.split(r"\s{2,}", text)
        names = [*cells[:-1:2], *(cells[-1].split(", ") if len(cells) % 2 else ())]
        rooms |= dict.fromkeys(names, "") | dict(zip(cells[::2], cells[1::2], strict=False))
        room = names[-1]
    return floors


def _rooms(package):
    """The modules and packages right below a package."""
    below = [path.relative_to(ROOT / package) for path in SOURCES if path.is_relative_to(ROOT / package)]
    found = {path.parts[0].removesuffix(".py") for path in below}
    return {name for name in found if not name.startswith("__")}


def _layers():
    """The layers of the contract on imports, the highest first, each with its rooms."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [set(layer.split(" | ")) for layer in next(each for each in contracts if each["type"] == "layers")["layers"]]


def test_the_map_has_every_room_once_and_no_other():
    named = [room for rooms in _map(PAGE).values() for room in rooms]
    assert sorted(named) == sorted({"flows"} | _rooms("pipeline"))


def test_the_floors_of_the_map_are_those_of_the_contract_on_imports():
    floor_of = {room: floor for floor, rooms in _map(PAGE).items() for room in rooms}
    floors = [{floor_of[room] for room in layer} for layer in _layers()]
    assert all(len(each) == 1 for each in floors), "a layer lies on one floor"
    highest_first = [floor for each in floors for floor in each]
    assert highest_first == sorted(highest_first, reverse=True)
    assert {floor_of["flows"], *highest_first} == set(range(1, floor_of["flows"] + 1))


def test_the_map_names_every_flow_and_no_other():
    words = next(rooms["flows"] for rooms in _map(PAGE).values() if "flows" in rooms)
    assert _rooms("flows") - set(re.findall(r"\w+", words)) == set()
    heads = [group.partition(":")[0] for group in words.split(";")]  # what stands behind a colon is said in words
    assert {name for head in heads for name in re.findall(r"\w+", head)} - _rooms("flows") - {"and"} == set()


def test_the_map_names_every_stage_and_no_module_that_is_absent():
    words = next(rooms["stages"] for rooms in _map(PAGE).values() if "stages" in rooms)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {*stages} <= set(re.findall(r"\w+", words)) - BESIDE <= _rooms("pipeline/stages")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"^   models .*\n", ""),
        (r"^(   )(models )", r"\1modles "),
        (r"^   evaluation .*\n", "   metric         is no room\n"),
        (r"^(4)  serving", "   serving"),
        (r"scoring, ", ""),
        (r"preprocess stage1", "preprocess"),
        (r"learning, detectors", "learning, bands"),
        (r"lineage, preset", "lineage, preset, gone"),
        (rf"(?s){BLOCK.pattern}", ""),
    ],
)
def test_a_map_that_lacks_or_adds_a_name_fails(monkeypatch, old, new):
    changed = re.sub(old, new, PAGE, flags=re.MULTILINE)
    assert changed != PAGE
    monkeypatch.setitem(globals(), "PAGE", changed)
    with pytest.raises(AssertionError):
        test_the_map_has_every_room_once_and_no_other()
        test_the_floors_of_the_map_are_those_of_the_contract_on_imports()
        test_the_map_names_every_flow_and_no_other()
        test_the_map_names_every_stage_and_no_module_that_is_absent()


def test_a_commit_is_checked_by_the_tools_of_make_check_and_fetches_nothing():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [(repo["repo"], hook["language"]) for repo in hooks for hook in repo["hooks"]] == [("local", "system")] * 5
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    tools = {tuple(line.split()[:2]) if "ruff" in line else (line.split()[0],) for line in recipe.splitlines()}
    assert tools == {tuple(hook["entry"].split()[: 2 if "ruff" in hook["entry"] else 1]) for hook in hooks[0]["hooks"]}


def test_constraints_pin_every_version_once():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0] for line in lines]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^+\s]+", line) for line in lines)
    assert len(names) == len(set(names))
