"""The registry: a version is what was registered, loads anywhere, and aliases name a version at every moment."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grimp
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load as load_tensors

from pipeline import tracking
from pipeline.artifacts.models import encode_model
from pipeline.base.errors import ArtifactError, ConflictError, TrustError
from pipeline.serving import bundle_parts, manifest, own_model, packaging, registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import CHANGES, LOCK, PARAMS, Origin
from pipeline.serving.trust import checks, origins, signing
from pipeline.serving.trust.statements import SIGNATURE
from pipeline.tracking import store as stores

ROOT = Path(__file__).parents[2]
SITE = Path(np.__file__).parents[1]
COLUMNS = ["score", "p_value", "confidence", "verdict", "margin", "detector", "head"]


def raw(records):
    """Records as JSON has them."""
    return {
        "columns": [*records],
        "data": [list(row) for row in zip(*(v.tolist() for v in records.values()), strict=True)],
    }


@pytest.fixture
def project(project):
    """The project with a store in which no version has an alias, whichever test came before."""
    _without_aliases()
    yield project
    _without_aliases()


def _without_aliases():
    found = stores.client().search_registered_models(f"name = '{own_model.name()}'")
    for alias in found[0].aliases if found else ():
        stores.client().delete_registered_model_alias(own_model.name(), alias)


@pytest.fixture
def run_id(project, request):
    opened = tracking.open_parent("training", {tracking.FLOW_RUN: f"flow run of {request.node.name}"})
    tracking.close_parent(opened)
    return opened


@pytest.fixture
def fresh(bundle, tmp_path, request):
    """A saved bundle that no other test registers."""
    about = {**bundle.sealed.about, "dataset": f"data of {request.node.name}"}
    HashedFolder(about, bundle.sealed.files).save(tmp_path / "fresh")
    return tmp_path / "fresh"


def finished_run():
    run = tracking.open_parent("training", {})
    tracking.close_parent(run)
    return run


@pytest.fixture(scope="module")
def pyfunc(store, folder):
    """The folder of a registered pyfunc."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(store)
        version = registry.register(folder, finished_run(), {})
        uri = stores.client().get_model_version_download_uri(own_model.name(), str(version.number))
    return Path(uri.removeprefix("file://"))


def versioned(client, digests):
    """Versions without a model behind them: cheap ones, for aliases alone."""
    if not client.search_registered_models(f"name = '{own_model.name()}'"):
        client.create_registered_model(own_model.name())
    made = [
        client.create_model_version(
            own_model.name(),
            "file:///nowhere",
            tags={"flowsculpt.digest": d, SIGNATURE: signing.model(own_model.name(), d, "", "", {})},
        )
        for d in digests
    ]
    return [registry.find_version(int(each.version)) for each in made]


def aliases():
    return {alias: each.number for each in registry.versions() for alias in each.aliases}


def test_a_version_says_where_it_comes_from(run_id, fresh):
    version = registry.register(fresh, run_id, {"flowsculpt.seeds": "[0]"})
    sealed = manifest.load(fresh)
    assert (version.run_id, version.digest, version.aliases) == (run_id, sealed.digest, ("candidate",))
    assert version.tags["flowsculpt.flow_run"].startswith("flow run of test_a_version_says")
    assert version.tags["flowsculpt.seeds"] == "[0]"
    assert version.tags["flowsculpt.dataset"] == sealed.about["dataset"]
    assert json.loads(version.tags["flowsculpt.libraries"])["torch"].startswith("2.")
    for which in (version.number, str(version.number), "candidate"):
        assert registry.find_version(which) == version
    outputs = stores.client().get_run(run_id).outputs.model_outputs
    assert len(outputs) == 1


def test_a_version_keeps_its_origin_and_its_bill_of_materials_under_its_signature(run_id, fresh):
    made = Origin.of_here("c0ffee", ("none",), {LOCK: b"stages: {}", PARAMS: b"ingest: {}", CHANGES: b"\xff diff"})
    version = registry.register(fresh, run_id, {}, "", made)
    assert origins.read(version) == made
    uri = stores.client().get_model_version_download_uri(own_model.name(), str(version.number))
    bill = Path(uri.removeprefix("file://")) / "origin" / "sbom.cdx.json"
    told = json.loads(bill.read_text())
    assert told["metadata"]["component"]["version"] == version.digest[:12]
    assert {"mlflow", "numpy", "safetensors"} <= {each["name"] for each in told["components"]}
    bill.write_bytes(bill.read_bytes() + b"\n")
    with pytest.raises(TrustError, match="is not what was signed"):
        origins.read(version)
    found = {each.name: each for each in checks.of(version)}
    assert found["stored bundle"].is_ok and not found["stored code"].is_ok


def test_a_version_without_an_origin_says_so(run_id, fresh):
    with pytest.raises(ArtifactError, match="it was registered before versions kept theirs"):
        origins.read(registry.register(fresh, run_id, {}))


def test_registering_again_gives_the_same_version(run_id, fresh):
    first = registry.register(fresh, run_id, {})
    assert registry.register(fresh, run_id, {}) == first
    assert len(stores.client().get_run(run_id).outputs.model_outputs) == 1


def test_another_run_that_makes_the_same_model_is_linked_to_the_version_that_exists(run_id, fresh, other_bundle):
    first = registry.register(fresh, run_id, {"flowsculpt.seeds": "[0]"})
    count, client = len(registry.versions()), stores.client()
    nights = [finished_run() for _ in range(2)]
    for night in nights:
        again = registry.register(fresh, night, {"flowsculpt.seeds": "[1]"})
        assert (again.number, again.run_id, again.tags["flowsculpt.seeds"]) == (first.number, run_id, "[0]")
        assert again.tags["flowsculpt.made_again"] == night
        run = client.get_run(night)
        assert run.data.tags["flowsculpt.version"] == str(first.number)
        assert run.outputs.model_outputs == client.get_run(run_id).outputs.model_outputs
    assert len(registry.versions()) == count
    other_bundle.save(fresh.parent / "other")
    assert registry.register(fresh.parent / "other", nights[0], {}).number != first.number


def test_what_a_training_made_is_the_candidate_whatever_else_it_is(run_id, fresh):
    first = registry.register(fresh, run_id, {})
    (other,) = versioned(stores.client(), ["f" * 64])
    registry.promote(first, None)
    stores.client().set_registered_model_alias(own_model.name(), "candidate", str(other.number))
    assert registry.register(fresh, finished_run(), {}).aliases == ("candidate", "champion")
    registry.promote(other, first)
    registry.note(first, {"flowsculpt.rolled_back": "yesterday"}, {})
    again = registry.register(fresh, finished_run(), {})
    assert (again.aliases, again.tags["flowsculpt.rolled_back"]) == (("candidate", "previous"), "yesterday")


def test_a_version_that_is_no_longer_sound_is_not_used_again(run_id, fresh):
    first = registry.register(fresh, run_id, {})
    uri = stores.client().get_model_version_download_uri(own_model.name(), str(first.number))
    (Path(uri.removeprefix("file://")) / "artifacts" / "bundle" / "detector.safetensors").unlink()
    second = registry.register(fresh, finished_run(), {})
    assert (second.number != first.number, second.digest) == (True, first.digest)
    assert registry.register(fresh, finished_run(), {}).number == second.number


def test_what_is_fetched_judges_as_what_was_registered(run_id, bundle, folder, records):
    version = registry.register(folder, run_id, {})
    fetched = Bundle.load(registry.fetch(version))
    assert fetched.digest == bundle.digest
    one, other = fetched.predict(records), bundle.predict(records)
    np.testing.assert_equal(one.scores, other.scores)
    for name in ("score", "p_value", "confidence", "verdict"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    shutil.rmtree(registry.fetch(version))
    with ThreadPoolExecutor(4) as pool:  # flows that fetch it at once
        assert len(set(pool.map(registry.fetch, [version] * 4))) == 1
    assert Bundle.load(registry.fetch(version)).digest == bundle.digest


@pytest.mark.parametrize("change", ["byte", "absent", "pickle", "whole"])
def test_a_tampered_version_is_refused_with_the_file(run_id, fresh, other_bundle, change):
    version = registry.register(fresh, run_id, {})
    uri = stores.client().get_model_version_download_uri(own_model.name(), str(version.number))
    stored = Path(uri.removeprefix("file://")) / "artifacts" / "bundle"
    weights = stored / "detector.safetensors"
    registry.fetch(version)  # what was fetched before does not stand for what is stored now
    if change == "byte":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif change == "absent":
        weights.unlink()
    elif change == "pickle":
        (stored / "detector.safetensors.pkl").write_bytes(b"\x80\x04.")
    else:
        other_bundle.save(stored)
    expected = "another model" if change == "whole" else r"detector\.safetensors"
    with pytest.raises(ArtifactError, match=rf"version {version.number} of flowsculpt.*{expected}"):
        registry.fetch(version)


def test_a_version_whose_files_are_gone_is_refused(project):
    (version,) = versioned(stores.client(), ["0" * 64])
    with pytest.raises(ArtifactError, match="cannot be fetched"):
        registry.fetch(version)


def test_unknown_versions_are_none(project):
    assert registry.find_version("champion") is None
    assert registry.find_version(10**6) is None
    assert registry.find_version("no such alias") is None


def test_promotions_and_rollbacks_swap_what_serves(project):
    first, second, third = versioned(stores.client(), "abc")
    registry.promote(first, None)
    assert aliases() == {"champion": first.number}
    with pytest.raises(ConflictError, match="no version to go back to"):
        registry.rollback()
    registry.promote(second, first)
    assert aliases() == {"champion": second.number, "previous": first.number}
    with pytest.raises(
        ConflictError, match=f"version {second.number} is champion by now, no longer version {first.number}"
    ):
        registry.promote(third, first)
    with pytest.raises(ConflictError, match="no longer no version"):
        registry.promote(third, None)
    with pytest.raises(ConflictError, match="already"):
        registry.promote(second, second)
    assert registry.rollback().number == first.number
    assert aliases() == {"champion": first.number, "previous": second.number}
    assert registry.rollback().number == second.number


def test_of_many_promotions_at_once_one_wins(project):
    champion, *candidates = versioned(stores.client(), "abcdef")
    registry.promote(champion, None)

    def won(candidate):
        try:
            registry.promote(candidate, champion)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(len(candidates)) as pool:
        wins = list(pool.map(won, candidates))
    assert sum(wins) == 1
    assert aliases() == {"champion": candidates[wins.index(True)].number, "previous": champion.number}


@pytest.mark.parametrize("step", range(4))
def test_a_promotion_that_breaks_off_leaves_valid_aliases(project, monkeypatch, step):
    first, second = versioned(stores.client(), "ab")
    registry.promote(first, None)
    client, calls = stores.client(), []
    original = client.set_registered_model_alias

    def breaks(*arguments):
        calls.append(arguments)
        if len(calls) > step:
            raise KeyboardInterrupt
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", breaks)
        try:
            registry.promote(second, first)
            registry.rollback()
        except KeyboardInterrupt:
            pass
    serving = registry.find_version("champion")
    assert serving in (registry.find_version(first.number), registry.find_version(second.number))
    if serving.number == first.number:  # it can be done again
        registry.promote(registry.find_version(second.number), serving)
    assert aliases() == {"champion": second.number, "previous": first.number}


def test_notes_are_tags_and_files(run_id, fresh):
    version = registry.register(fresh, run_id, {})
    registry.note(version, {"flowsculpt.gate": "refused"}, {"gate.md": "# Refused\n"})
    assert registry.find_version(version.number).tags["flowsculpt.gate"] == "refused"
    listed = stores.client().list_artifacts(run_id, f"versions/{version.number}")
    assert [Path(each.path).name for each in listed] == ["gate.md"]


def test_the_metrics_of_a_decision_stand_beside_the_run_under_the_number_of_the_version(run_id, fresh):
    version = registry.register(fresh, run_id, {})
    registry.note(version, {}, {}, {"shadow.records": 1500.0})
    assert stores.client().get_run(run_id).data.metrics[f"versions/{version.number}/shadow.records"] == 1500


def test_no_file_of_a_version_is_a_pickle(pyfunc):
    files = [file for file in pyfunc.rglob("*") if file.is_file()]
    kinds = {file.suffix for file in files}
    assert kinds == {"", ".json", ".safetensors", ".py", ".toml", ".yaml", ".txt"}
    assert {file.name for file in files if not file.suffix} == {"MLmodel"}
    for file in files:
        content = file.read_bytes()
        read = load_tensors(content) if file.suffix == ".safetensors" else content.decode("utf-8")
        assert read or file.name == "head.safetensors"  # there is no head
    assert str(ROOT) not in (pyfunc / "MLmodel").read_text()


def test_a_version_carries_the_code_that_it_imports_and_no_other_room(pyfunc):
    graph = grimp.build_graph("pipeline", cache_dir=None)
    imported = {"pipeline.serving.pyfunc"} | graph.find_upstream_modules("pipeline.serving.pyfunc")
    carried = {file.relative_to(pyfunc / "code") for file in (pyfunc / "code").rglob("*.py")}
    modules = {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in carried}
    assert imported <= modules
    rooms = {module.split(".")[1] for module in modules if "." in module}
    assert rooms == {
        *("artifacts", "base", "calibration", "datasets"),
        *("evaluation", "models", "preprocessing", "serving", "settings"),
    }
    assert not any(name in module for module in modules for name in ("synthetic", "training"))


def test_a_model_that_mlflow_fetches_answers_with_its_number(run_id, fresh, records, tmp_path, monkeypatch):
    from mlflow import pyfunc as flavour

    version = registry.register(fresh, run_id, {})
    uri = stores.client().get_model_version_download_uri(own_model.name(), str(version.number))
    shutil.copytree(uri.removeprefix("file://"), tmp_path / "by_folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.tracking_uri())
    named = [f"models:/{own_model.name()}{which}" for which in (f"/{version.number}", "@candidate")]
    with warnings.catch_warnings(), packaging.hushed():
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        models = [flavour.load_model(each) for each in (*named, str(tmp_path / "by_folder"))]
    found = [model.predict(pd.DataFrame(records))["model_version"].tolist() for model in models]
    n = len(records["protocol"])
    assert found == [[version.number] * n, [version.number] * n, [None] * n]


FRESH = """
import importlib.util, sys, warnings
sys.path.append(sys.argv[2])  # without its .pth files, which may lead to a repository
assert importlib.util.find_spec("pipeline") is None
warnings.simplefilter("ignore")
import json, mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
import pipeline
assert pipeline.__file__.startswith(sys.argv[1]), pipeline.__file__
records = json.load(sys.stdin)
judged = model.predict(pandas.DataFrame(records["data"], columns=records["columns"]))
loaded = {"dvc", "prefect", "lightning", "sklearn", "matplotlib", "great_expectations"} & {*sys.modules}
print(json.dumps({"judged": judged.to_dict("list"), "loaded": sorted(loaded)}))
"""


def in_a_fresh_process(pyfunc, records, tmp_path):
    command = [sys.executable, "-I", "-S", "-B", "-c", FRESH, str(pyfunc), str(SITE)]
    return subprocess.run(
        command, input=json.dumps(raw(records)), cwd=tmp_path, capture_output=True, text=True, check=False
    )


def test_a_version_judges_in_a_fresh_process_without_the_repository(pyfunc, bundle, records, tmp_path):
    done = in_a_fresh_process(pyfunc, records, tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    expected = bundle.predict(records)
    # density is the former name of detector, for one version
    assert list(told["judged"]) == [*packaging.PREDICTION] and {*COLUMNS, "density"} <= {*told["judged"]}
    assert told["judged"]["density"] == told["judged"]["detector"]
    for name in COLUMNS:
        np.testing.assert_array_equal(np.array(told["judged"][name]), getattr(expected, name))
    assert not told["loaded"]


@pytest.mark.parametrize("plant", ["pickle", "byte", "whole"])
def test_a_pyfunc_whose_bundle_was_changed_does_not_load(pyfunc, other_bundle, tmp_path, plant):
    copy = tmp_path / "model"
    shutil.copytree(pyfunc, copy)
    inside = copy / "artifacts" / "bundle"
    if plant == "pickle":
        (inside / "weights.pkl").write_bytes(b"\x80\x04.")
    elif plant == "byte":
        content = (inside / "encoder.json").read_bytes()
        (inside / "encoder.json").write_bytes(content.replace(b"identity", b"Identity"))
    else:
        other_bundle.save(inside)
    from mlflow import pyfunc as flavour

    expected = {"pickle": "weights.pkl", "byte": "encoder.json", "whole": "was registered"}[plant]
    with warnings.catch_warnings(), pytest.raises(ArtifactError, match=expected):
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        flavour.load_model(str(copy))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def asked(port, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def required(folder):
    """The packages that a registered version needs."""
    version = registry.register(folder, finished_run(), {})
    uri = stores.client().get_model_version_download_uri(own_model.name(), str(version.number))
    lines = (Path(uri.removeprefix("file://")) / "requirements.txt").read_text().split()
    return {line.partition("==")[0] for line in lines}


def test_a_version_requires_torch_where_it_computes_with_it(store, bundle, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(store)
    about, weights = bundle_parts.decoded(Path("encoder"), bundle.sealed.files, "encoder")
    files = encode_model({**about, "loss": "clad"}, weights)  # whose margin has no form
    changed = dict(zip(bundle_parts.file_names("encoder"), files, strict=True))
    HashedFolder(bundle.sealed.about, {**bundle.sealed.files, **changed}).save(tmp_path / "other")
    assert {"numpy", "mlflow"} <= required(folder) == required(tmp_path / "other") - {"torch"}
    assert "torch" in required(tmp_path / "other")


def test_mlflow_serves_raw_records(pyfunc, bundle, records, tmp_path):
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(pyfunc), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (tmp_path / "log").open("w") as log:
        env = os.environ | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONDONTWRITEBYTECODE": "1"}
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        assert server.poll() is None, (tmp_path / "log").read_text()
        whole = {
            name: v if v.dtype == object else v.astype(np.int64) for name, v in records.items()
        }  # as JSON has them
        told = asked(port, {"dataframe_split": raw(whole)})["predictions"]
        untold = {name: v for name, v in whole.items() if name != "protocol"}
        blind = asked(port, {"dataframe_split": raw(untold)})["predictions"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            asked(port, {"dataframe_split": raw({name: v for name, v in whole.items() if name != "idle_max"})})
        with caught.value as refused:
            assert refused.code == 400
            assert b"idle_max" in refused.read()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    expected = bundle.predict(records)
    assert [row["verdict"] for row in told] == expected.verdict.tolist()
    assert {row["model_version"] for row in told} == {None}  # it was named by its folder
    assert [row["score"] for row in told] == expected.score.tolist()
    assert [row["p_value"] for row in told] == expected.p_value.tolist()
    assert [row["p_value"] for row in blind] == bundle.predict(untold).p_value.tolist() != expected.p_value.tolist()


def test_the_example_can_be_judged(pyfunc, bundle):
    example = json.loads((pyfunc / "input_example.json").read_text())
    assert set(example["columns"]) == {column.name for column in bundle.columns}
    frame = pd.DataFrame(example["data"], columns=example["columns"])
    assert len(bundle.predict({name: frame[name].to_numpy() for name in frame}).score) == 1
