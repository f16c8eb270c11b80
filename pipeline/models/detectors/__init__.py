"""Detectors: latent -> score, each under its name.

To add one: a file, a line in ``registry.py``, a section in params.yaml.
"""
