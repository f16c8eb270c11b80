"""The bill of materials names each library that is needed, in a form that other tools read."""

import json
import sys
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pipeline.serving import sbom
from pipeline.serving.libraries import closure
from pipeline.serving.packaging import REQUIRED


@pytest.fixture(scope="module")
def bill():
    return sbom.of_model("flowsculpt", "a" * 64, REQUIRED)


def test_it_is_cyclonedx(bill):
    for each in (bill, sbom.of_project()):
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(each.decode()) is None


def test_each_library_has_its_version_licence_and_hash(bill):
    told = json.loads(bill)
    found = {each["name"]: each for each in told["components"]}
    assert {*REQUIRED} <= {*found} == {*closure(REQUIRED)} and "torch" not in found
    for name, each in found.items():
        assert each["version"] == metadata.version(name).partition("+")[0]
        assert each["licenses"] and len(each["hashes"][0]["content"]) == 64
        assert each["purl"] == f"pkg:pypi/{name}@{each['version']}"
    assert told["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    needs = {each["ref"]: each.get("dependsOn", []) for each in told["dependencies"]}
    assert set(needs[f"model:{'a' * 64}"]) == {found[name]["purl"] for name in REQUIRED}
    assert found["numpy"]["purl"] in needs[found["pandas"]["purl"]]


def test_the_same_libraries_give_the_same_bill_but_for_its_time(bill):
    again = sbom.of_model("flowsculpt", "a" * 64, reversed(REQUIRED))
    first, second = (json.loads(each) for each in (bill, again))
    assert first["metadata"].pop("timestamp") and second["metadata"].pop("timestamp")
    assert first == second


@pytest.mark.parametrize("own", ["made_up-1.dist-info/INSTALLER,sha256=x,4\nmade_up/__pycache__/a.pyc,,\n", ""])
def test_the_hash_of_a_library_is_the_same_in_each_installation_of_its_wheel(own, tmp_path, monkeypatch):
    folder = tmp_path / "made_up-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\nLicense: MIT\n\nLong text.\n")
    (folder / "RECORD").write_text(f"{own}made_up/a.py,sha256=abc,12\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (made,) = closure(["made-up"]).values()
    assert (made.version, made.licence) == ("1", "MIT")
    assert made.sha256 == "bc49e4e2f35bf6fb64362225aa74064ac3f9a64abcf081e9e8c0b5ea38fcdf07"


def test_a_folder_of_sources_that_comes_first_on_the_path_is_read_too(tmp_path, monkeypatch):
    """As ``pip install --editable .`` leaves it in a project, which is the first place where Python looks."""
    folder = tmp_path / "flowsculpt.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text(
        "Metadata-Version: 2.4\nName: flowsculpt\nVersion: 7\nLicense: MIT\n\nLong text.\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = closure(["flowsculpt"]).values()
    assert (found.name, found.version, found.licence) == ("flowsculpt", "7", "MIT")


def test_the_bill_of_the_project_is_a_file_or_is_printed(tmp_path, capsys):
    assert sbom.main([str(tmp_path / "bill.json")]) == 0
    assert json.loads((tmp_path / "bill.json").read_text())["metadata"]["component"]["name"] == "flowsculpt"
    capsys.readouterr()
    assert sbom.main([]) == 0
    assert json.loads(capsys.readouterr().out)["bomFormat"] == "CycloneDX"


def test_the_bill_of_an_environment_names_all_that_is_installed_in_it(tmp_path):
    assert sbom.main(["--installed", str(tmp_path / "bill.json")]) == 0
    names = {each["name"] for each in json.loads((tmp_path / "bill.json").read_text())["components"]}
    assert {"pip", "pytest", "torch", "pandas"} <= names, "also what the project does not ask for"
