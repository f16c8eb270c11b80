"""Data sets: raw files -> records with canonical columns."""
