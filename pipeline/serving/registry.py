"""The model registry: versions of one model, and the aliases ``candidate``, ``champion`` and ``previous``.

A version is an MLflow pyfunc that is stored as code (``pipeline/serving/pyfunc.py``), the package ``pipeline`` beside
it, and a sealed bundle of JSON and safetensors; nothing in it is pickled. It loads in any process that has the pinned
requirements, without this repository. Its tags say where it comes from::

    flowsculpt.digest      of the bundle: equal digests, the same model
    flowsculpt.made_again  the last run that made the same model again
    flowsculpt.dataset     flowsculpt.flow_run     flowsculpt.git_commit     flowsculpt.libraries     what else is given

Aliases change under a lock of this project's folder and in an order in which each names a version at every moment.
"""

import fcntl
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.base.errors import ArtifactError, ConflictError
from pipeline.serving import manifest
from pipeline.serving.manifest import HashedFolder
from pipeline.tracking import operations, outbox, store

MODEL = "flowsculpt"
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
DIGEST, DATASET, COMMIT, LIBRARIES = (f"flowsculpt.{tag}" for tag in ("digest", "dataset", "git_commit", "libraries"))
VERSION, MADE_AGAIN = "flowsculpt.version", "flowsculpt.made_again"
LOCK = "mlflow.db.registry.lock"
PACKAGE = Path(__file__).parents[1]
BUNDLE = "artifacts/bundle"
# The files and rooms of the package that scoring imports; a test holds them against its imports.
CODE = (
    *("artifacts.py", "base", "calibration", "datasets/schema.py", "preprocessing"),
    *("settings/base.py", "settings/preprocess.py"),
    *("models/detectors", "models/encoders", "models/layers.py"),
    *(f"serving/{name}.py" for name in ("bundle", "manifest", "pyfunc", "two_stage")),
)
# What scoring imports, and what that needs beside its own requirements.
REQUIRED = ("mlflow", "numpy", "pandas", "psutil", "pyarrow", "safetensors", "scipy", "torch")
PREDICTION = {
    "score": "double",
    "p_value": "double",
    "confidence": "float",
    "verdict": "string",
    "margin": "double",
    "density": "double",
    "head": "double",
}
DESCRIPTION = "Calibrated alarms on network records: raw records in; score, p-value, confidence and verdict out."


@dataclass(frozen=True)
class Version:
    """One version of the model.

    Attributes:
        number: 1 for the first.
        run_id: the pipeline run that made it.
        digest: of its bundle.
        tags: all that is written on it.
        aliases: by which it is known now.
    """

    number: int
    run_id: str
    digest: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


def register(folder: Path, run_id: str, tags: Mapping[str, str], about: str = "") -> Version:
    """Give a saved bundle a version of the model, under the alias ``candidate``.

    The same bundle a second time gets the version that is there, if what is stored of it is sound: a run that changed
    nothing made the same model. Run and version then name each other. What else that version is stays as it is: the
    champion is ``candidate`` and ``champion``, and one that was rolled back keeps the tag that says so.

    Args:
        folder: a saved ``Bundle``.
        run_id: the pipeline run that made it.
        tags: what else is to be written on it.
        about: what its page says of it to people.

    Raises:
        ArtifactError: the folder is no sound bundle.
    """
    sealed, client = manifest.load(folder), store.client()
    outbox.deliver()  # the run may have been opened while the store was away
    run_id = operations.resolve(run_id)
    with _locked():
        found = _registered(sealed.digest)
        number = found.number if found else _create(client, sealed, run_id, tags, about)
        if found and found.run_id != run_id:
            _link(client, found, run_id)
        client.set_registered_model_alias(MODEL, CANDIDATE, str(number))
    return _require(number)


def versions() -> list[Version]:
    """All versions, the newest first."""
    listed = store.client().search_model_versions(f"name = '{MODEL}'", order_by=["version_number DESC"])
    aliases = _aliases()
    return [_version(each, aliases) for each in listed]


def find_version(which: str | int) -> Version | None:
    """The version that has an alias or a number, None where there is none."""
    number = _aliases().get(str(which), str(which))
    return next((each for each in versions() if str(each.number) == number), None)


def fetch(version: Version) -> Path:
    """The bundle of a version, as a local folder that ``Bundle.load`` reads.

    It is downloaded each time, and compared with the digest that stands in the tags of the version.

    Raises:
        ArtifactError: the store does not hold it, or holds something else.
    """
    target = store.project_root() / artifacts.REGISTERED / f"{version.number}-{version.digest[:16]}"
    sealed = _stored(version)
    with _locked():  # another process may fetch the same version
        if not _holds(target, sealed):
            sealed.save(target)
    return target


def promote(candidate: Version, champion: Version | None) -> None:
    """Let ``candidate`` take the place of ``champion``, which becomes ``previous``.

    Args:
        candidate: what is to serve.
        champion: what served when that was decided, None for nothing.

    Raises:
        ConflictError: something else serves by now, or the candidate is gone or serves already.
    """
    client = store.client()
    with _locked():
        aliases, expected = _aliases(), str(champion.number) if champion else None
        if aliases.get(CHAMPION) != expected:
            raise ConflictError(
                f"{_spelt(aliases.get(CHAMPION))} is {CHAMPION} by now, no longer {_spelt(expected)}, against which "
                f"version {candidate.number} was judged; judge it again"
            )
        if expected == str(candidate.number):
            raise ConflictError(f"version {candidate.number} is {CHAMPION} already")
        _require(candidate.number)
        if expected:
            client.set_registered_model_alias(MODEL, PREVIOUS, expected)
        client.set_registered_model_alias(MODEL, CHAMPION, str(candidate.number))


def rollback() -> Version:
    """Let ``previous`` serve again; what served becomes ``previous``. Returns what serves now.

    Raises:
        ConflictError: there is nothing to go back to.
    """
    client = store.client()
    with _locked():
        aliases = _aliases()
        champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
        if previous is None or previous == champion:
            raise ConflictError(f"there is no version to go back to: {PREVIOUS} is {_spelt(previous)}")
        _require(int(previous))
        client.set_registered_model_alias(MODEL, CHAMPION, previous)
        if champion:
            client.set_registered_model_alias(MODEL, PREVIOUS, champion)
    return _require(int(previous))


def note(version: Version, tags: Mapping[str, str], files: Mapping[str, str]) -> None:
    """Write tags on a version, and texts beside the run that made it, under ``versions/<number>/``."""
    client = store.client()
    for name, text in files.items():
        client.log_text(version.run_id, text, f"versions/{version.number}/{name}")
    for name, value in tags.items():
        client.set_model_version_tag(MODEL, str(version.number), name, value)


# What a version is made of.


def _registered(digest: str) -> Version | None:
    """The version of a bundle that is there: the one that serves or did, else the newest; None where none is sound."""
    same = sorted((each for each in versions() if each.digest == digest), key=_rank)
    return next((each for each in same if _is_sound(each)), None)


def _rank(version: Version) -> tuple[bool, bool, int]:
    return CHAMPION not in version.aliases, PREVIOUS not in version.aliases, -version.number


def _is_sound(version: Version) -> bool:
    try:
        return _stored(version).digest == version.digest
    except ArtifactError:
        return False


def _link(client: Any, version: Version, run_id: str) -> None:
    """Let a run and the version that it made again name each other."""
    source = client.get_model_version(MODEL, str(version.number)).source
    outputs = client.get_run(version.run_id).outputs.model_outputs
    same = [each for each in outputs if client.get_logged_model(each.model_id).artifact_location == source]
    client.log_outputs(run_id, same)
    client.set_tag(run_id, VERSION, str(version.number))
    client.set_model_version_tag(MODEL, str(version.number), MADE_AGAIN, run_id)


def _create(client: Any, sealed: HashedFolder, run_id: str, tags: Mapping[str, str], about: str) -> int:
    from mlflow.entities import LoggedModelOutput

    own = {**_origin(client, run_id), DIGEST: sealed.digest, DATASET: str(sealed.about["dataset"])}
    given = {name: value for name, value in {**own, **tags}.items() if value}
    experiment = client.get_run(run_id).info.experiment_id
    with tempfile.TemporaryDirectory() as folder, _hushed():
        _create_model(client)
        logged = client.create_logged_model(experiment, MODEL, run_id, given, model_type="pyfunc")
        _save(Path(folder), sealed, logged, run_id)
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        source = logged.artifact_location
        named = {"description": about or None, "model_id": logged.model_id}
        created = client.create_model_version(MODEL, source, run_id, given, **named)
    return int(created.version)


def _create_model(client: Any) -> None:
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL, description=DESCRIPTION)


def _origin(client: Any, run_id: str) -> dict[str, str]:
    """What the run says of itself, and the libraries at hand."""
    tags = client.get_run(run_id).data.tags
    libraries = {name: metadata.version(name) for name in REQUIRED}
    return {
        operations.FLOW_RUN: tags.get(operations.FLOW_RUN, ""),
        COMMIT: tags.get("mlflow.source.git.commit", ""),
        LIBRARIES: json.dumps(libraries),
    }


def _save(folder: Path, sealed: HashedFolder, logged: Any, run_id: str) -> None:
    """Write the pyfunc as ``folder/model``."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import Model

    sealed.save(folder / "bundle")
    _copy_code(folder / "code" / PACKAGE.name)
    pyfunc.save_model(
        str(folder / "model"),
        python_model=str(folder / "code" / PACKAGE.name / Path(__file__).with_name("pyfunc.py").relative_to(PACKAGE)),
        artifacts={"bundle": str(folder / "bundle")},
        code_paths=[str(folder / "code" / PACKAGE.name)],
        signature=_signature(sealed),
        input_example=pd.DataFrame([sealed.about["example"]]),
        pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in REQUIRED],
        model_config={"digest": sealed.digest, "device": "cpu"},
        mlflow_model=Model(artifact_path=logged.artifact_location, run_id=run_id, model_id=logged.model_id),
    )
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


@contextmanager
def _hushed() -> Iterator[None]:
    """Without MLflow's progress bars, and its warnings of its own type hints and of how it calls pandas."""
    bars = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    given = os.environ.get(bars)
    os.environ[bars] = given or "false"
    try:
        with store.quiet("mlflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if given is None:
            os.environ.pop(bars, None)


def _copy_code(target: Path) -> None:
    """Copy what the registered model imports, each file beside the ``__init__.py`` of the packages around it."""
    listed = [
        file for name in CODE for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    ]
    around = {parent / "__init__.py" for file in listed for parent in file.parents if parent.is_relative_to(PACKAGE)}
    for file in {*listed, *around}:
        copy = target / file.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def _signature(sealed: HashedFolder) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns, group = sealed.about["columns"], sealed.about.get("group")
    names = [column["name"] for column in columns]
    optional = [group] if group and group["name"] not in names else []  # without it a record is judged as all are
    read = [
        ColSpec("string" if column["categorical"] else "double", column["name"], required=column not in optional)
        for column in [*columns, *optional]
    ]
    return ModelSignature(Schema(read), Schema([ColSpec(kind, name) for name, kind in PREDICTION.items()]))


# What the registry says.


def _aliases() -> dict[str, str]:
    """Alias -> number, of all of them at one moment."""
    found = store.client().search_registered_models(f"name = '{MODEL}'")
    return {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    tags, number = dict(found.tags), str(found.version)
    known = tuple(sorted(alias for alias, named in aliases.items() if named == number))
    return Version(int(number), found.run_id or "", tags.get(DIGEST, ""), tags, known)


def _require(number: int) -> Version:
    found = find_version(number)
    if found is None:
        raise ConflictError(f"version {number} of {MODEL} is gone from the registry")
    return found


def _spelt(number: str | None) -> str:
    return f"version {number}" if number else "no version"


@contextmanager
def _locked() -> Iterator[None]:
    """One process of this machine at a time changes the registry from this project."""
    with (store.project_root() / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
        yield


def _stored(version: Version) -> HashedFolder:
    """What the store holds of a version.

    Raises:
        ArtifactError: it does not hold it, or holds something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        downloaded = _download(version, Path(folder))
        try:
            sealed = manifest.load(downloaded)
        except ArtifactError as error:
            told = str(error).replace(f"{downloaded}/", "")
            raise ArtifactError(f"version {version.number} of {MODEL}: {told}") from error
    if sealed.digest != version.digest:
        raise ArtifactError(
            f"version {version.number} of {MODEL}: {manifest.MANIFEST} has the digest {sealed.digest}, the version was "
            f"registered with {version.digest}; what is stored is another model"
        )
    return sealed


def _download(version: Version, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        source = client.get_model_version_download_uri(MODEL, str(version.number))
        uri = f"{source.rstrip('/')}/{BUNDLE}"
        with _hushed():
            return Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise ArtifactError(f"version {version.number} of {MODEL}: its bundle cannot be fetched: {error}") from error


def _holds(folder: Path, sealed: HashedFolder) -> bool:
    try:
        return manifest.load(folder) == sealed
    except ArtifactError:
        return False
