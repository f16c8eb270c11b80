"""Threshold strategies: (n,) scores -> Thresholds(low, high).

To add one: a file with a class whose settings are its constructor's arguments, whose instances are called with scores
and tell by ``analysis`` what they saw, and a line in the registry. ``tests/contracts/test_thresholds.py`` tests it.
"""
