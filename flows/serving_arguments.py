"""What ``serve`` takes: where its servers listen, and which of them run elsewhere."""

import argparse
from typing import Final

LOCAL: Final = "127.0.0.1"
PREFECT_PORT, MLFLOW_PORT, TRIAGE_PORT = 4200, 5000, 4300


def serve(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``serve``."""
    parser.description = "Servers, the triage page, deployments and one worker."
    parser.add_argument("--host", default=LOCAL, help="the address that the servers listen on")
    parser.add_argument("--prefect-port", type=int, default=PREFECT_PORT, help="0: a free one")
    parser.add_argument("--mlflow-port", type=int, default=MLFLOW_PORT, help="0: a free one")
    parser.add_argument("--triage-port", type=int, default=TRIAGE_PORT, help="0: a free one")
    parser.add_argument("--no-triage", action="store_true", help="serve no triage page")
    parser.add_argument(
        "--allowed-hosts",
        default="",
        help="names by which other machines call the servers: box.example,192.0.2.7; notifications link to the first",
    )
    parser.add_argument("--no-deploy", action="store_true", help="leave the deployments as they are")
    parser.add_argument(
        "--backend",
        default="",
        metavar="DATABASE",
        help="where MLflow keeps runs: postgresql://mlflow@db.example/mlflow; without it, mlflow.db of the project",
    )
    parser.add_argument(
        "--artifacts",
        default="",
        metavar="PLACE",
        help="where MLflow keeps files, and hands them out to any machine: s3://bucket/mlflow, or a folder",
    )
    parser.add_argument(
        "--mlflow-uri",
        default="",
        metavar="ADDRESS",
        help="use the MLflow server at this address and start none; MLFLOW_TRACKING_URI does the same",
    )
    parser.add_argument(
        "--prefect-url",
        default="",
        metavar="API",
        help="use the Prefect server with this API, such as https://box.example/api, and start none; PREFECT_API_URL "
        "does the same",
    )
