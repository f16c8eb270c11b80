"""The keys that sign and those that are trusted, and the log of promotions that they signed."""

from collections.abc import Iterator

from flows.runtime.health.finding import Finding, blocks, note, ok
from pipeline.artifacts import paths
from pipeline.base.errors import TrustError
from pipeline.serving.trust import chain, keys, trusted


def signatures() -> Iterator[Finding]:
    """Whether models can be signed here, and whether the log of promotions is as it was signed."""
    try:
        here, known = keys.present(), trusted.load()
    except TrustError as error:
        yield blocks(str(error), "do what it says; see docs/how-to/trust.md")
        return
    if not known:
        yield ok("no key signs models yet; the first training makes one")
        return
    if here is None or all(key.keyid != here.keyid or key.retired for key in known):
        remedy = "to train or promote here, run `flowsculpt keys init`"
        yield note(
            f"{paths.TRUSTED_KEYS}: no key is here to sign with; models can be scored, and not registered", remedy
        )
    else:
        yield ok(f"key {here.keyid[:12]} signs models and promotions")
    for fault in chain.read(thorough=True).faults:
        yield blocks(f"{paths.PROMOTIONS}: {fault}", chain.REMEDY)
