"""Losses of a latent, by name: they say where an encoder should put benign records and attacks."""
