"""What is signed of a version: that it was trained here, and that it was made to serve.

Both are in-toto statements in an envelope, and tags of the version::

    flowsculpt.signature    its bundle, its code and the settings; beside them the run, the records and the commit
    flowsculpt.promotion    its bundle, its number, and the number of the decision that made it serve

Source: "in-toto Attestation Framework", Statement v1 (github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.base.errors import TrustError
from pipeline.serving.trust import envelope
from pipeline.serving.trust.keys import Signer
from pipeline.serving.trust.trusted import TrustedKey

SIGNATURE, PROMOTION = "flowsculpt.signature", "flowsculpt.promotion"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
MODEL_TYPE, PROMOTION_TYPE = "urn:flowsculpt:model:v1", "urn:flowsculpt:promotion:v1"
BUNDLE, CODE, PARAMS = "bundle.json", "code", "params.yaml"  # the subjects of a model


@dataclass(frozen=True)
class ModelStatement:
    """What was signed when a version was registered.

    Attributes:
        model: its name.
        digest: sha256 of the manifest of its bundle.
        subjects: name -> sha256 of all that is signed, the bundle among them.
        about: run, records, commit and ``dvc.lock``, as far as they were known.
        key: that signed it.
    """

    model: str
    digest: str
    subjects: Mapping[str, str]
    about: Mapping[str, str]
    key: TrustedKey


@dataclass(frozen=True)
class PromotionStatement:
    """What was signed when a version was made to serve.

    Attributes:
        model: its name.
        number: of the version.
        digest: of its bundle.
        sequence: number of the decision.
        previous: sha256 of the last line that the log of promotions had then.
        key: that signed it.
    """

    model: str
    number: int
    digest: str
    sequence: int
    previous: str
    key: TrustedKey


def sign_model(model: str, subjects: Mapping[str, str], about: Mapping[str, str], signer: Signer) -> str:
    """The tag that says what a version is.

    Args:
        model: its name.
        subjects: name -> sha256; see ``BUNDLE``, ``CODE`` and ``PARAMS``.
        about: where it comes from.
        signer: the key.
    """
    known = {name: value for name, value in about.items() if value}
    return _sealed(subjects, MODEL_TYPE, {"model": model, **known}, signer)


def sign_promotion(model: str, number: int, digest: str, at: tuple[int, str], signer: Signer) -> str:
    """The tag that says that a version was made to serve.

    Args:
        model: its name.
        number: of the version.
        digest: of its bundle.
        at: number of the decision, and the sha256 of the last line of the log before it.
        signer: the key.
    """
    predicate = {"model": model, "version": number, "sequence": at[0], "previous": at[1]}
    return _sealed({BUNDLE: digest}, PROMOTION_TYPE, predicate, signer)


def read_model(text: str, keys: Sequence[TrustedKey]) -> ModelStatement:
    """What a tag says of a version.

    Raises:
        TrustError: nobody who is trusted has signed it.
    """
    key, subjects, predicate = _opened(text, MODEL_TYPE, keys)
    about = {name: str(value) for name, value in predicate.items() if name != "model"}
    return ModelStatement(str(predicate.get("model")), subjects.get(BUNDLE, ""), subjects, about, key)


def read_promotion(text: str, keys: Sequence[TrustedKey]) -> PromotionStatement:
    """What a tag says of a decision.

    Raises:
        TrustError: nobody who is trusted has signed it.
    """
    key, subjects, told = _opened(text, PROMOTION_TYPE, keys)
    try:
        numbers = int(told["version"]), int(told["sequence"])
        return PromotionStatement(
            str(told["model"]), numbers[0], subjects[BUNDLE], numbers[1], str(told["previous"]), key
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TrustError(f"the signed decision is not whole ({error})") from error


def _sealed(subjects: Mapping[str, str], kind: str, predicate: Mapping[str, Any], signer: Signer) -> str:
    listed = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()]
    told = {"_type": STATEMENT, "subject": listed, "predicateType": kind, "predicate": predicate}
    return envelope.sealed(json.dumps(told, separators=(",", ":")).encode(), signer)


def _opened(text: str, kind: str, keys: Sequence[TrustedKey]) -> tuple[TrustedKey, dict[str, str], dict[str, Any]]:
    """Key, subjects and predicate of a statement."""
    key, body = envelope.opened(text, keys)
    try:
        told = json.loads(body)
        subjects = {str(each["name"]): str(each["digest"]["sha256"]) for each in told["subject"]}
        predicate = dict(told["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrustError(f"the signed statement is not whole ({error})") from error
    if (told.get("_type"), told.get("predicateType")) != (STATEMENT, kind):
        raise TrustError(f"the signed statement is a {told.get('predicateType')!r}, and {kind!r} is expected")
    return key, subjects, predicate
