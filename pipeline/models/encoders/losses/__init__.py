"""Losses of a latent: what an encoder is asked to make of benign records and attacks, each under its name."""
