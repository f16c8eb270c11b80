"""Signs a version that served before versions were signed, or whose signatures were lost, if the log says that it did.

What is signed is what the log of promotions and the store agree on: the bundle. Nobody knows any more with which code
it was registered, so that is not signed.
"""

from pipeline.base.errors import ArtifactError, TrustError
from pipeline.serving import champion, registry
from pipeline.serving.registry import CHAMPION
from pipeline.serving.trust import chain, keys, signing, statements, verification
from pipeline.serving.trust.trusted import Served
from pipeline.serving.version import Version
from pipeline.tracking import store


def adopt(which: str) -> list[str]:
    """Sign a version; returns what was done, in sentences.

    Args:
        which: its number, or an alias.

    Raises:
        ArtifactError: there is no such version, or the store does not hold it whole.
        TrustError: the log does not say that this bundle served, or the store holds another one.
    """
    version = registry.find_version(which)
    if version is None:
        raise ArtifactError(f"there is no version {which!r} in the registry")
    log = chain.require()
    served = _served(log, version)
    registry.stored(version)
    done = [f"{version}: the log of promotions says that its bundle {version.digest[:12]} served, and the store has it"]
    if not _counts(version):
        _tag(version, statements.SIGNATURE, signing.model(version.model, version.digest, "", "", {}))
        done.append(f"{version}: signed its bundle; its code, which only MLflow runs, is not signed")
    is_last = log.served(version.model)[-1].number == version.number
    return done + (_serve(version, log) if is_last else _keep(version, served))


def _served(log: chain.Log, version: Version) -> Served:
    """What the log says of a version.

    Raises:
        TrustError: it does not say that this bundle served.
    """
    served = log.served(version.model)
    same = [each for each in served if each.number == version.number]
    if not same:
        numbers = ", ".join(sorted({str(each.number) for each in served})) or "none"
        raise TrustError(
            f"{version}: no line of {chain.place()} made it serve, and none is signed without one; versions that "
            f"served: {numbers}; train anew to get a signed version"
        )
    if same[-1].digest != version.digest:
        raise TrustError(
            f"{version}: its bundle had the digest {same[-1].digest[:12] or 'none'} when it was made to serve, and the "
            f"registry says {version.digest[:12] or 'none'} now; it was replaced; roll back, or train anew"
        )
    return same[-1]


def _serve(version: Version, log: chain.Log) -> list[str]:
    """Sign that the version serves that the log names last, and give it the alias back."""
    now = _fresh(version)
    try:
        if CHAMPION in now.aliases:
            verification.require(now, CHAMPION)
            return [f"{version}: serves by a signed decision already"]
    except TrustError:
        pass  # that is what is mended here
    registry.sign_decision(now)
    done = [f"{version}: signed that it serves"]
    if CHAMPION not in now.aliases:
        store.client().set_registered_model_alias(version.model, CHAMPION, str(version.number))
        done.append(f"{version}: gave it the alias {CHAMPION}, as the log names it last")
    now = _fresh(version)
    chain.append(_line(now, log), number := verification.promotion_of(now).sequence)
    champion.keep(now, CHAMPION)
    return [*done, f"{version}: wrote decision {number} into the log"]


def _keep(version: Version, served: Served) -> list[str]:
    """Sign that a version served once, so that a rollback may go back to it; others have served since."""
    if verification.sequence_of(_fresh(version)) == served.sequence != 0:
        return [f"{version}: that it served once is signed already"]
    at = served.sequence, chain.NOTHING
    text = statements.sign_promotion(version.model, version.number, version.digest, at, keys.signer(to_promote=True))
    _tag(version, statements.PROMOTION, text)
    return [f"{version}: signed that it served once; another version serves by the log, so no alias was moved"]


def _line(version: Version, log: chain.Log) -> dict[str, object]:
    made = [line for line in log.lines if (found := chain.served(line)) and found.model == version.model]
    return {
        "time": keys.now(),
        "model": version.model,
        "decision": "adopted",
        "candidate": version.number,
        "champion": made[-1].get("champion"),
        "serving": version.number,
        "reasons": ["its bundle is the one that this log made serve"],
        "digests": {"candidate": version.digest, "champion": None},
        "flow_run": "",
        "promotion": verification.promotion_of(version).sequence,
    }


def _counts(version: Version) -> bool:
    try:
        verification.model_of(version)
    except TrustError:
        return False
    return True


def _fresh(version: Version) -> Version:
    found = registry.find_version(version.number, version.model)
    if found is None:
        raise ArtifactError(f"{version}: is gone from the registry")
    return found


def _tag(version: Version, name: str, value: str) -> None:
    store.client().set_model_version_tag(version.model, str(version.number), name, value)
