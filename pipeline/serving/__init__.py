"""A trained detector outside the pipeline: the bundle, batch scoring, the model registry."""
