"""The forms in which closed-form models score: NumPy alone, without PyTorch.

A detector of ``pipeline.models.detectors`` that needs no training is fitted there, and computes here. A registered
model is made of its arrays straight away (``registry``), so it scores and explains without PyTorch.
"""
