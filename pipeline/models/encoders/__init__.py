"""Encoders: features -> latent, each under its name. To add one: a file, a line here, a section in params.yaml."""
