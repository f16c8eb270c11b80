"""A project with a store of its own, and a small bundle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_tensors

from pipeline import tracking
from pipeline.artifacts.models import encode_model
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import group_names
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.on_device import DetectorOnDevice, EncoderOnDevice
from pipeline.preprocessing.features import Features
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.two_stage import TwoStage
from tests.settings import recipe_with

NUMBERS = ("flow_duration", "total_fwd_packets", "idle_max")


def records(n, seed=0):
    """Raw columns of n records, words among them."""
    random = np.random.default_rng(seed)
    columns = {name: random.gamma(2.0, 100.0, n).round() for name in NUMBERS}
    columns |= {"service": random.choice(np.array(["http", "dns"], dtype=object), n)}
    return columns | {"protocol": random.choice([6.0, 17.0], n)}


def weights(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def made_bundle(seed=0):
    """A bundle that was fitted on made-up records, without encoder, with thresholds for each protocol."""
    rows = records(400, seed)
    features = Features.fit([rows], 400, recipe_with(drop=("protocol",), derive=()))
    x = np.stack([features.map(rows)[name] for name in features.columns], axis=1)
    encoder = ENCODERS["identity"](len(features.columns), DCCL())
    encoder.centre(torch.from_numpy(x), torch.arange(400) % 2)
    detector = DETECTORS["mahalanobis"](len(features.columns))
    detector.fit(torch.from_numpy(x))
    scores = TwoStage(EncoderOnDevice(encoder), DetectorOnDevice(detector), None).scores(x).T
    fitted = {"settings": {}, "columns": list(features.columns)}
    parts = {
        "features": features.state(),
        "encoder": ({"encoder": "identity", "loss": "dccl", "loss_settings": {}, **fitted}, weights(encoder)),
        "detector": ({"detector": "mahalanobis", **fitted}, weights(detector)),
        "head": ({"detector": "none"}, {}),
        "thresholds": Calibration.fit(
            *scores.astype(np.float64), group="protocol", groups=group_names(rows["protocol"])
        ).state(),
    }
    files = {}
    for name, part in parts.items():
        files |= dict(zip((f"{name}.json", f"{name}.safetensors"), encode_model(*part), strict=True))
    files["used.safetensors"] = save_tensors({"record_id": np.arange(400, dtype=np.uint64)})
    columns = [{"name": name, "categorical": name == "service"} for name in features.reads]
    about = {"dataset": "table", "columns": columns, "example": features.typical()}
    about |= {"group": {"name": "protocol", "categorical": False}}
    return Bundle.of_sealed(HashedFolder(about, files), Path("made"))


@pytest.fixture(scope="session")
def bundle():
    return made_bundle()


@pytest.fixture(scope="session")
def folder(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    bundle.save(folder)
    return folder


@pytest.fixture(scope="session")
def other_bundle():
    return made_bundle(seed=1)


@pytest.fixture
def unseen_folder(tmp_path):
    """A bundle that no other test registers."""
    made_bundle(seed=2).save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(name="records")
def few_records():
    return records(64, seed=2)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A project with a store of its own, made once: a fresh one takes seconds."""
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").touch()
    return root


@pytest.fixture
def project(store, monkeypatch):
    monkeypatch.chdir(store)
    for name in (tracking.PARENT_VARIABLE, "DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return store


@pytest.fixture
def client(project):
    from mlflow import MlflowClient

    tracking.open_parent("warm", {})
    return MlflowClient(tracking.tracking_uri())
