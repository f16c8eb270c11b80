"""CALIBRATE: from scores to surprisals, thresholds, p-values and predictions; no torch."""
