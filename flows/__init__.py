"""Prefect flows: the only floor that knows time, retries, schedules and workers.

DVC owns the graph of stages and the cache, Prefect owns time: a flow reads the stages from ``dvc.yaml`` and runs each
as one task, so adding a stage touches no file here.
"""
