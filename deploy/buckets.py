"""Makes buckets of an S3 store that are absent; waits while the store starts.

::

    python -m deploy.buckets mlflow dvc
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

SECONDS: Final = 60.0


def main(given: Sequence[str] | None = None) -> int:
    """Make the buckets; returns the exit code."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    parser = argparse.ArgumentParser(prog="python -m deploy.buckets", description="Make buckets that are absent.")
    parser.add_argument("name", nargs="+")
    names, deadline = parser.parse_args(given).name, time.monotonic() + SECONDS
    client = boto3.client("s3")
    while True:
        try:
            there = {each["Name"] for each in client.list_buckets()["Buckets"]}
            for name in names:
                if name not in there:
                    client.create_bucket(Bucket=name)
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                print(f"buckets: {error}", file=sys.stderr)
                return 1
            time.sleep(1.0)
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main())
