"""EVALUATE: metrics and their intervals, attribution, the promotion gate, drift."""
