"""What must be true of a version before its bundle is parsed.

1. A trusted key signed what it is: its model's name and its bundle. The bundle is compared by ``manifest.load``.
2. The one that serves was made to serve by a signed decision on this number and this bundle.
3. No later decision is known: neither to the log of promotions here, nor from what this machine has seen before.

Whoever can write to the registry can move an alias, change tags and store files. None of that makes a version serve.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.base.errors import TrustError
from pipeline.base.escaping import printable
from pipeline.serving import champion
from pipeline.serving.trust import chain, statements, trusted
from pipeline.serving.trust.statements import PROMOTION, SIGNATURE, ModelStatement, PromotionStatement
from pipeline.serving.trust.trusted import Served, TrustedKey
from pipeline.serving.version import Version

CHAMPION, PREVIOUS = "champion", "previous"

Told = TypeVar("Told", ModelStatement, PromotionStatement)


def model_of(version: Version, keys: Sequence[TrustedKey] | None = None) -> ModelStatement:
    """What was signed of a version when it was registered.

    Args:
        version: as the registry has it.
        keys: that are trusted; None: those of this project.

    Raises:
        TrustError: nothing was, nobody who is trusted did it, or it was another model.
    """
    absent = (
        f"is not signed; it was registered before versions were signed, or by somebody else. If it served before, "
        f"{_adopt(version)} compares it with the log of promotions and signs it; else train anew"
    )
    told = _read(version, SIGNATURE, statements.read_model, keys, (absent, "its signature does not count"))
    if told.model != version.model:
        raise TrustError(f"{version}: its signature was copied from the model {told.model!r}")
    if told.digest != version.digest:
        raise TrustError(
            f"{version}: the registry says that its bundle has the digest {printable(version.digest[:12]) or 'none'}, "
            f"and {told.digest[:12]} was signed; somebody changed what is registered; train anew, or roll back"
        )
    if told.key.retired and not any(_is(each, version) for each in told.key.retired.keeps):
        raise TrustError(f"{version}: {_by_retired(told.key)}; train anew")
    return told


def promotion_of(version: Version, keys: Sequence[TrustedKey] | None = None) -> PromotionStatement:
    """The signed decision that made a version serve.

    Raises:
        TrustError: there is none, nobody who is trusted signed it, or it is about another version.
    """
    absent = (
        "no signed decision made it serve; an alias was moved by other means, or it serves since before decisions were "
        f"signed. {_adopt(version)} compares it with the log of promotions"
    )
    wrong = "the decision that made it serve does not count"
    told = _read(version, PROMOTION, statements.read_promotion, keys, (absent, wrong))
    if (told.model, told.number, told.digest) != (version.model, version.number, version.digest):
        raise TrustError(
            f"{version}: the decision that it shows is about version {told.number} of {printable(told.model)} with "
            f"the digest {told.digest[:12]}; it was copied, or the version was replaced"
        )
    if not told.key.promotes:
        raise TrustError(
            f"{version}: the decision that made it serve is signed with key {told.key.keyid[:12]} "
            f"({printable(told.key.name)}), which signs models and no promotions; promote it where a key lies that may"
        )
    retired = told.key.retired
    if retired and not any(_is(each, version) and each.sequence == told.sequence for each in retired.keeps):
        raise TrustError(f"{version}: the decision that made it serve: {_by_retired(told.key)}; promote again")
    return told


def _read(
    version: Version,
    tag: str,
    read: Callable[[str, Sequence[TrustedKey]], Told],
    keys: Sequence[TrustedKey] | None,
    words: tuple[str, str],
) -> Told:
    """What a tag of a version says; ``words`` are said where the tag is absent, and where it does not count."""
    if tag not in version.tags:
        raise TrustError(f"{version}: {words[0]}")
    try:
        return read(version.tags[tag], trusted.load() if keys is None else keys)
    except TrustError as error:
        raise TrustError(f"{version}: {words[1]}: {error}") from error


def require(version: Version, alias: str) -> None:
    """Refuse a version that may not do what an alias, or its number, stands for.

    Args:
        version: as the registry, or the note on the disk, has it.
        alias: by which it was asked for, or its number.

    Raises:
        TrustError: says what was found, and what to do.
    """
    keys = trusted.load()
    model_of(version, keys)
    if alias not in (CHAMPION, PREVIOUS):
        return
    log = chain.require()
    try:
        told = promotion_of(version, keys)
    except TrustError as error:
        raise TrustError(f"{error}{_by_log(log, version)}") from error
    if alias == CHAMPION:
        _require_last(version, told, log, keys)


def require_previous(version: Version, serving: Version | None) -> None:
    """Refuse to go back to a version that did not serve before the present one.

    Args:
        version: that has the alias ``previous``.
        serving: the champion; None where no version is.

    Raises:
        TrustError: says what was found, and what to do.
    """
    require(version, PREVIOUS)
    log = chain.require()
    lines = [line for line in log.lines if _makes(line, version.model)]
    if not lines or (serving and sequence_of(serving) > log.served(version.model)[-1].sequence):
        return  # the log does not know it: another machine promoted last, or a process was killed before its line
    known = set()
    for line in reversed(lines):
        known |= {line.get("champion"), line.get("serving")}
        if line.get("decision") != chain.FOUND:
            break
    if version.number not in known:
        raise TrustError(
            f"{version}: has the alias {PREVIOUS}, and by the log of promotions version {lines[-1].get('champion')} "
            "served before; somebody moved the alias; promote a version by its number instead"
        )


def sequence_of(version: Version) -> int:
    """The number of the decision that made a version serve; 0 where it shows none that counts."""
    try:
        return promotion_of(version).sequence
    except TrustError:
        return 0


def highest(model: str, keys: Sequence[TrustedKey]) -> PromotionStatement | None:
    """The last decision on a model that this machine has seen, as it is noted on the disk."""
    about = champion.known(model, CHAMPION)
    if about is None:
        return None
    version = Version(int(about["number"]), about["run_id"], about["digest"], about["tags"], (), model)
    try:
        return promotion_of(version, keys)
    except TrustError:
        return None


def _require_last(version: Version, told: PromotionStatement, log: chain.Log, keys: Sequence[TrustedKey]) -> None:
    """Refuse a version that a later decision has replaced."""
    here = Served(told.model, told.number, told.digest, told.sequence)
    served = log.served(version.model)
    last = max((each for each in served if each.sequence), key=lambda each: each.sequence, default=None)
    if last:
        _compare(version, here, last, "the log of promotions")
    if (noted := highest(version.model, keys)) is not None:
        seen = Served(noted.model, noted.number, noted.digest, noted.sequence)
        _compare(version, here, seen, "what this machine has seen")


def _compare(version: Version, here: Served, last: Served, source: str) -> None:
    if here.sequence > last.sequence or here == last:
        return
    if here.sequence == last.sequence or here.number != last.number:
        raise TrustError(
            f"{version}: has the alias {CHAMPION} by decision {here.sequence}, and by {source} decision "
            f"{last.sequence} made version {last.number} serve; somebody moved the alias; give it back: "
            f"`flowsculpt keys adopt {last.number}`"
        )
    raise TrustError(
        f"{version}: shows decision {here.sequence}, and by {source} decision {last.sequence} made it serve; an old "
        f"signature was put back, perhaps with an old copy of the registry; sign it again: {_adopt(version)}"
    )


def _by_log(log: chain.Log, version: Version) -> str:
    served = log.served(version.model)
    if not served or served[-1].number == version.number:
        return ""
    return f"; by the log version {served[-1].number} serves: `flowsculpt keys adopt {served[-1].number}`"


def _makes(line: object, model: str) -> bool:
    found = chain.served(line) if isinstance(line, dict) else None
    return found is not None and found.model == model


def _is(kept: Served, version: Version) -> bool:
    return (kept.model, kept.number, kept.digest) == (version.model, version.number, version.digest)


def _by_retired(key: TrustedKey) -> str:
    time = key.retired.time if key.retired else ""
    return f"key {key.keyid[:12]} signed it, which was retired at {time}, and this version did not serve before that"


def _adopt(version: Version) -> str:
    return f"`flowsculpt keys adopt {version.number}`"
