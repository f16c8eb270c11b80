"""Explains a version: each check, and what it found. It reads all that is stored of it, and runs no stored code."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from pipeline import config
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.serving import canary_check, champion, manifest, packaging, registry, silence
from pipeline.serving.bundle import Bundle
from pipeline.serving.counts import counted
from pipeline.serving.registry import CHAMPION, PREVIOUS
from pipeline.serving.trust import chain, keys, signing, statements, verification
from pipeline.serving.version import Version
from pipeline.settings.alerts import Alerts

COMPILED: Final = "__pycache__"


class Check(NamedTuple):
    """What was checked, what was found, and whether that is as it should be."""

    name: str
    found: str
    is_ok: bool


def of(version: Version) -> list[Check]:
    """All checks of a version."""
    asked: list[tuple[str, Callable[[], str]]] = [
        ("signature", lambda: _signature(version)),
        ("origin", lambda: _origin(version)),
        ("stored bundle", lambda: _bundle(version)),
        ("silence", lambda: _silence(version)),
        ("stored code", lambda: _code(version)),
        ("kept bundle", lambda: _kept(version)),
        ("log of promotions", _log),
        ("decision", lambda: _decision(version)),
        ("end of the log", lambda: _end(version)),
    ]
    return [_checked(name, check) for name, check in asked]


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, check(), is_ok=True)
    except ArtifactError as error:
        return Check(name, str(error), is_ok=False)


def _signature(version: Version) -> str:
    told = verification.model_of(version)
    what = ", ".join(f"{name} {digest[:12]}" for name, digest in told.subjects.items())
    return f"key {told.key.keyid[:12]} ({told.key.name}) signed {what}"


def _origin(version: Version) -> str:
    told = verification.model_of(version)
    differs = [*_differences(version, told)]
    if differs:
        raise ArtifactError("; ".join(differs))
    return ", ".join(f"{name} {value[:40]}" for name, value in told.about.items()) or "nothing of it was signed"


def _differences(version: Version, told: statements.ModelStatement) -> Iterator[str]:
    says = {signing.RUN: version.run_id, **{name: version.tags.get(tag, "") for name, tag in signing.ABOUT.items()}}
    for name, signed in told.about.items():
        if says.get(name) != signed:
            yield f"the registry says of its {name} {says.get(name, '')[:40]!r}, and {signed[:40]!r} was signed"


def _bundle(version: Version) -> str:
    verification.model_of(version)
    stored = registry.stored(version)
    return f"{len(stored.files)} files, as their manifest {stored.digest[:12]} says"


def _silence(version: Version) -> str:
    """Whether the installed code still finds with the stored bundle what was found, and whether it raises alerts."""
    verification.model_of(version)
    bundle = Bundle.of_sealed(registry.stored(version), Path("bundle"))
    faults = [*canary_check.faults(bundle)]
    with suppress(ConfigError):  # a folder without settings has counted nothing
        faults += filter(None, [silence.found(bundle, version.number, config.load(Alerts))])
    if faults:
        raise ArtifactError(" ".join(faults))
    if not canary_check.has_canaries(bundle):
        return "it has no canaries, as it is older than these; train anew"
    known = bundle.canaries()
    if known is None:
        return "it has no canaries, as none of its records was fit for one"
    must = counted(int(known.must_alarm.sum()), "planted attack raises", "planted attacks raise")
    benign = counted(int((~known.is_attack).sum()), "benign record raises", "benign records raise")
    return f"{must} an alarm, {benign} none, and all have the scores that they had"


def _code(version: Version) -> str:
    signed = verification.model_of(version).subjects.get(statements.CODE, "")
    if not signed:
        return "its code is not signed, as it was adopted; score, watch and AlarmModel run the installed code"
    with TemporaryDirectory() as folder:
        model = packaging.download_all(version.model, version.number, Path(folder))
        compiled = sorted({file.parent.relative_to(model).as_posix() for file in model.rglob(f"{COMPILED}/*")})
        found = packaging.code_digest(model)
    if found == signed:
        return f"{found[:12]}, as was signed"
    if compiled:
        raise ArtifactError(
            f"compiled code lies beside it, which was not signed: remove {', '.join(compiled[:3])} from the store, and "
            "verify again"
        )
    raise ArtifactError(
        f"has the digest {found[:12]}, and {signed[:12]} was signed: a file was changed, added or removed; do not load "
        "this version with MLflow, which would run it"
    )


def _kept(version: Version) -> str:
    folder = champion.folder_of(version.number, version.digest)
    if not folder.is_dir():
        return "is not on this machine"
    manifest.load(folder, verification.model_of(version).digest)
    return f"{folder.name}, as was signed"


def _log() -> str:
    found = chain.read(thorough=True)
    if found.faults:
        raise ArtifactError("; ".join(found.faults))
    unsigned = sum("signature" not in line for line in found.lines)
    older = f"; {unsigned} older ones are not" if unsigned else ""
    return f"{len(found.lines) - unsigned} lines are signed, and each follows the one before{older}"


def _decision(version: Version) -> str:
    if CHAMPION in version.aliases:
        verification.require(version, CHAMPION)
    elif PREVIOUS in version.aliases:
        verification.require_previous(version, registry.find_version(CHAMPION, version.model))
    else:
        return "it neither serves nor served last, so none is asked for"
    told = verification.promotion_of(version)
    return f"decision {told.sequence}, signed with key {told.key.keyid[:12]} ({told.key.name})"


def _end(version: Version) -> str:
    """Whether the log still has the line after which the champion was promoted."""
    if CHAMPION not in version.aliases:
        return "only the champion shows it"
    told, log, here = verification.promotion_of(version), chain.read(), keys.present()
    if told.previous in log.hashes:
        return "the line is there after which it was made to serve"
    if here is None or here.keyid != told.key.keyid:
        return "it was made to serve on another machine, which has the log"
    raise ArtifactError(
        f"the line is gone after which it was made to serve: lines at the end of {chain.place()} were removed; "
        f"{chain.REMEDY}"
    )
