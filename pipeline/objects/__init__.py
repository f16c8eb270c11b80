"""The one door to object stores, by fsspec: ``s3://``, ``gs://``, ``abfs://``.

Objects are copied to ``data/objects`` before they are read, and tables are written here before they are uploaded. So
readers, hashes, quarantine and what was scored before work on objects as they do on files. fsspec is imported by the
first call that names an address.
"""
