"""Champions on the disk, signed by a key of the working folder, for projects that have no store."""

from dataclasses import replace

from pipeline.serving import champion
from pipeline.serving.bundle import Bundle
from pipeline.serving.trust import signing
from pipeline.serving.trust.statements import PROMOTION, SIGNATURE
from pipeline.serving.version import Version
from pipeline.settings.tracking import SHIPPED


def signed(version: Version) -> Version:
    """A version with the signatures that one which serves has; each one replaces those that were signed before."""
    tags = {SIGNATURE: signing.model(version.model, version.digest, "", version.run_id, version.tags)}
    return replace(version, tags={**version.tags, **tags, PROMOTION: signing.promotion(version, [])})


def serve(bundle: Bundle, number: int = 1) -> Version:
    """Keep a model under ``data/registered`` as the champion."""
    bundle.save(champion.folder_of(number, bundle.digest))
    version = signed(Version(number, "run", bundle.digest, {}, ("champion",), SHIPPED))
    champion.keep(version, "champion")
    return version
