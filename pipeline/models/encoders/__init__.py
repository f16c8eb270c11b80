"""Encoders: features -> latent, each under its name.

To add one: a file, a line in ``registry.py``, a section in params.yaml.
"""
