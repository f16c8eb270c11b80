"""Faults that are injected into what writes: see ``benchmarks.injected.__main__``."""
