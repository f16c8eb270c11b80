"""The old name of ``pipeline.serving.bundle``, which models from before the move import. For one version."""

from pipeline.serving import bundle


class Bundle(bundle.Bundle):
    """The same, with the old name of ``predict``."""

    judge = bundle.Bundle.predict
