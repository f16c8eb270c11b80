"""Retires a key: what it signed of versions that served stays valid, and nothing that it signs from now on counts."""

from dataclasses import replace

from pipeline.artifacts import paths
from pipeline.base.errors import TrustError
from pipeline.serving.trust import chain, keys, trusted
from pipeline.serving.trust.trusted import Retired, Served


def retire(keyid: str) -> list[str]:
    """Retire a key, or go on with that where a process was killed; returns what was done, in sentences.

    Where it is the one in the file here, a new one takes its place first.

    Args:
        keyid: its id, or the first digits.

    Raises:
        TrustError: no such key is trusted, it was retired before, or there is no key here that may sign that.
    """
    key = trusted.named(keyid, trusted.load())
    if key.retired:
        raise TrustError(f"key {key.keyid[:12]} was retired at {key.retired.time} already")
    keys.require_promoter()
    log, done, here = chain.require(), [], keys.present()
    if here and here.keyid == key.keyid:
        done.append(f"key {keys.replace().keyid[:12]} signs here from now on, and the old one is gone")
    begun = [line for line in log.lines if line.get("decision") == chain.RETIRED and line.get("key") == key.keyid]
    time = begun[-1]["time"] if begun else keys.now()
    if not begun:
        chain.append({"time": time, "model": None, "decision": chain.RETIRED, "key": key.keyid, "reasons": []})
    keeps = _kept(log)
    retired = replace(key, retired=Retired(time, keeps))
    trusted.save([retired if each.keyid == key.keyid else each for each in trusted.load()])
    names = ", ".join(sorted({f"{each.number} of {each.model}" for each in keeps})) or "none"
    return [
        *done,
        f"key {key.keyid[:12]} ({key.name}) is retired; what it signed of versions that served stays valid: {names}",
        f"bring {paths.TRUSTED_KEYS} to each machine that scores",
    ]


def _kept(log: chain.Log) -> tuple[Served, ...]:
    """The versions of all models that served so far, each by its last decision."""
    found = (chain.served(line) for line in log.lines)
    return tuple({each[:3]: each for each in found if each}.values())
