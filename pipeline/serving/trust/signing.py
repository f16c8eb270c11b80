"""Signs a version when it is registered, and each time that it is made to serve."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.serving.trust import chain, keys, statements, trusted, verification
from pipeline.serving.version import COMMIT, DATASET, DVC_LOCK, Version
from pipeline.tracking import store

ABOUT: Final = {  # what a statement says of the origin of a model -> the tag that says it, too
    "dataset": DATASET,
    "commit": COMMIT,
    "dvc_lock": DVC_LOCK,
}
RUN: Final = "run"
PARAMS: Final = "params.yaml"


def model(name: str, digest: str, code: str, run_id: str, tags: Mapping[str, str]) -> str:
    """The tag that says what a version is.

    Args:
        name: of the model.
        digest: of its bundle.
        code: sha256 over its code, see ``packaging.code_digest``; "" where nobody knows what it was.
        run_id: the run that made it.
        tags: of the version.

    Raises:
        TrustError: there is no key to sign with.
    """
    settings = store.project_root() / PARAMS
    params = hashlib.sha256(settings.read_bytes()).hexdigest() if code and settings.is_file() else ""
    subjects = {statements.BUNDLE: digest, statements.CODE: code, statements.PARAMS: params}
    about = {RUN: run_id, **{said: tags.get(tag, "") for said, tag in ABOUT.items()}}
    known = {each: found for each, found in subjects.items() if found}
    return statements.sign_model(name, known, about, keys.signer())


def promotion(version: Version, versions: Iterable[Version]) -> str:
    """The tag that says that a version is made to serve now.

    Args:
        version: that is to serve.
        versions: all of its model; the new decision gets a higher number than any that made one of them serve.

    Raises:
        TrustError: there is no key that may sign it, or the log of promotions was changed.
    """
    log, known = chain.require(), trusted.load()
    noted = verification.highest(version.model, known)
    seen = [*map(verification.sequence_of, versions), noted.sequence if noted else 0, log.sequence]
    at = max(seen) + 1, log.head
    return statements.sign_promotion(version.model, version.number, version.digest, at, keys.signer(to_promote=True))
