"""Every setting: its type and its limits, in one file for each section of params.yaml; values stand there alone.

A shape is a frozen dataclass that needs no tool. The science reads it, and ``pipeline.config`` checks params.yaml
against it. The settings of a plug-in (``stage2.maf`` ...) are the parameters of its constructor.
"""
