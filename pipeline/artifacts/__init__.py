"""Where every file lies, and how it is written and read. No other room has a path.

Every write is atomic and durable (``pipeline.base.durable``): if it fails, the old file is still there. Tables are
Parquet, models are safetensors and JSON, reports are JSON, CSV, SVG and HTML. Nothing is pickled.
"""
