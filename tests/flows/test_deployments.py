"""prefect.yaml and its variants: what is deployed, with parameters that the flows know and describe."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

ROOT = Path(__file__).parents[2]
VARIANTS = ("docs/prefect.docker.yaml", "docs/prefect.kubernetes.yaml")


def _deployments(name):
    return {each["name"]: each for each in yaml.safe_load((ROOT / name).read_text())["deployments"]}


DEPLOYMENTS = _deployments("prefect.yaml")


def test_the_whole_life_of_a_model_is_deployed():
    assert set(DEPLOYMENTS) == {"training", "scoring", "drift-check", "promotion", "benchmark"}
    on_gpus = {name for name, each in DEPLOYMENTS.items() if each["work_pool"]["name"] == "gpu"}
    assert on_gpus == {"training", "scoring", "benchmark"}
    assert all(each["tags"] and each["entrypoint"].startswith("flows/") for each in DEPLOYMENTS.values())
    assert DEPLOYMENTS["training"]["schedules"][0]["active"]


def test_one_run_of_a_deployment_at_a_time_and_what_becomes_of_the_next_is_stated():
    limits = {name: each["concurrency_limit"] for name, each in DEPLOYMENTS.items()}
    assert all(limit["limit"] == 1 for limit in limits.values())
    dropped = {name for name, limit in limits.items() if limit["collision_strategy"] == "CANCEL_NEW"}
    assert dropped == {"training", "drift-check"}
    assert all(limits[name]["collision_strategy"] == "ENQUEUE" for name in limits.keys() - dropped)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_flow_knows_types_and_describes_each_parameter_and_no_other_is_given(name):
    file, _, function = DEPLOYMENTS[name]["entrypoint"].partition(":")
    if not (ROOT / file).is_file():
        pytest.skip(f"{file} is not there yet")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), function)
    assert flow.name == name
    known = parameter_schema(flow).properties
    assert set(DEPLOYMENTS[name]["parameters"]) == set(known)
    assert all(each.get("description") and ("type" in each or "enum" in each) for each in known.values()), known


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_deploys_the_same_flows_with_the_same_parameters(variant):
    other = _deployments(variant)
    assert set(other) == set(DEPLOYMENTS)
    for name, each in DEPLOYMENTS.items():
        assert {**other[name], "work_pool": other[name]["work_pool"]["name"]} == {
            **each,
            "work_pool": each["work_pool"]["name"],
        }
        assert other[name]["work_pool"]["job_variables"]["image"]


@pytest.mark.parametrize("name", ["prefect.yaml", *VARIANTS])
def test_no_machine_path_and_no_secret_is_committed(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"/(home|root|work|Users|tmp)/", text)
    assert not re.search(r"(?i)(password|token|secret|auth_string)\s*[:=]\s*[\"']?\w", text)
    assert "set_working_directory" in yaml.safe_dump(yaml.safe_load(text)["pull"])
