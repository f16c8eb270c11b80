"""What somebody who keeps the stack does with its S3 store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.base.errors import ConfigError

VARIABLES: Final = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_SHARED_CREDENTIALS_FILE")


def require(env: Mapping[str, str]) -> None:
    """See to it that the variables name a store.

    Raises:
        ConfigError: one is not set, or there is no such file of keys.
    """
    if absent := [name for name in VARIABLES if not env.get(name)]:
        raise ConfigError(f"{absent[0]} is not set; the S3 store needs {', '.join(VARIABLES)}")
    if not (path := Path(env[VARIABLES[-1]])).is_file():
        raise ConfigError(f"{VARIABLES[-1]}: {path}: no such file")


def client(env: Mapping[str, str]) -> Any:
    """A client of the store that these variables name."""
    import boto3

    pairs = (line.split(" = ", 1) for line in Path(env["AWS_SHARED_CREDENTIALS_FILE"]).read_text().splitlines())
    keys = {pair[0]: pair[1] for pair in pairs if pair[0].startswith("aws_")}
    session = boto3.Session(region_name=env["AWS_DEFAULT_REGION"], **keys)
    return session.client("s3", endpoint_url=env["AWS_ENDPOINT_URL"])


def keys(bucket: str, env: Mapping[str, str]) -> list[str]:
    """The names of all objects of a bucket."""
    pages = client(env).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def fetch(bucket: str, folder: Path, env: Mapping[str, str]) -> int:
    """Copy a bucket into a folder; returns how many objects there are."""
    found, store = keys(bucket, env), client(env)
    for key in found:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, key, str(path))
    return len(found)


def send(folder: Path, bucket: str, env: Mapping[str, str]) -> int:
    """Copy a folder into a bucket; returns how many objects there are."""
    files, store = [path for path in sorted(folder.rglob("*")) if path.is_file()], client(env)
    for path in files:
        store.upload_file(str(path), bucket, path.relative_to(folder).as_posix())
    return len(files)


def clear(bucket: str, env: Mapping[str, str]) -> None:
    """Remove all objects of a bucket."""
    store = client(env)
    for key in keys(bucket, env):
        store.delete_object(Bucket=bucket, Key=key)
