"""The old name of ``pipeline.base.errors``, which models from before the move import. For one version."""

from pipeline.base.errors import ArtifactError

__all__ = ["ArtifactError"]
