"""Reads where a version comes from, after the signature of the version was compared with what is stored."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.base.errors import ArtifactError, TrustError
from pipeline.serving import origin, packaging
from pipeline.serving.origin import Origin
from pipeline.serving.trust import statements, verification
from pipeline.serving.version import Version


def read(version: Version) -> Origin:
    """Where a version comes from.

    Raises:
        TrustError: its signature does not count, or does not cover what is stored.
        ArtifactError: no origin is stored, or it cannot be read.
    """
    signed = verification.model_of(version).subjects.get(statements.CODE, "")
    if not signed:
        raise TrustError(f"{version}: was adopted, so its bundle alone is signed, and not where it comes from")
    with TemporaryDirectory() as folder:
        model = packaging.download_all(version.model, version.number, Path(folder))
        if packaging.code_digest(model) != signed:
            raise TrustError(
                f"{version}: what is stored beside its bundle is not what was signed; `flowsculpt verify "
                f"{version.number}` says more"
            )
        try:
            return origin.load(model / origin.FOLDER)
        except ArtifactError as error:
            raise ArtifactError(f"{version}: {error}") from error
