"""The evaluation protocol as a grid of DVC experiments."""
