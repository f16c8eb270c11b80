"""Makes a version of the model in MLflow's registry: its files, its tags and its signature."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base.escaping import printable
from pipeline.serving import benign, own_model, packaging
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import Origin
from pipeline.serving.trust import signing
from pipeline.serving.trust.statements import SIGNATURE
from pipeline.serving.version import COMMIT, DATASET
from pipeline.tracking import operations

DIGEST, LIBRARIES = (f"flowsculpt.{tag}" for tag in ("digest", "libraries"))
DESCRIPTION = (
    f"Calibrated alarms on network records: raw records in; score, p-value, confidence and verdict out. {benign.NOTICE}"
)


def create(
    client: Any,
    sealed: HashedFolder,
    run_id: str,
    tags: Mapping[str, str],
    about: str = "",
    origin: Origin | None = None,
) -> int:
    """Make a new version of a bundle, without any alias, and sign it; returns its number. See ``register``."""
    from mlflow.entities import LoggedModelOutput

    own = {**_origin(client.get_run(run_id).data.tags), DIGEST: sealed.digest, DATASET: str(sealed.about["dataset"])}
    given = {name: printable(value) for name, value in {**own, **tags}.items() if value}
    experiment, model = client.get_run(run_id).info.experiment_id, own_model.name()
    with tempfile.TemporaryDirectory() as folder, packaging.hushed():
        name_model(client)
        logged = client.create_logged_model(experiment, model, run_id, given, model_type="pyfunc")
        packaging.save(Path(folder), sealed, logged, run_id, origin)
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        source, code = logged.artifact_location, packaging.code_digest(Path(folder) / "model")
        given[SIGNATURE] = signing.model(model, sealed.digest, code, run_id, given)
        named = {"description": about or None, "model_id": logged.model_id}
        created = client.create_model_version(model, source, run_id, given, **named)
    return int(created.version)


def name_model(client: Any) -> None:
    """See to it that the registry has the model."""
    if not client.search_registered_models(f"name = '{own_model.name()}'"):
        client.create_registered_model(own_model.name(), description=DESCRIPTION)


def _origin(run: Mapping[str, str]) -> dict[str, str]:
    """What the tags of the run say of it, and the libraries at hand."""
    origin = {operations.FLOW_RUN: operations.FLOW_RUN, COMMIT: "mlflow.source.git.commit"}
    told = {tag: run.get(source, "") for tag, source in origin.items()}
    return told | {LIBRARIES: json.dumps(packaging.versions())}
