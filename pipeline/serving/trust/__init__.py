"""Signatures: whose models and decisions count here, who signs them, and what is checked before a model is parsed."""
