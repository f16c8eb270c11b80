"""Makes the secrets that ``compose.yaml`` names as files, each once; what is there stays.

::

    python -m deploy.secrets deploy/secrets [--names prefect.example,mlflow.example,triage.example]

Its owner alone can read them, and git ignores the whole folder. In containers ``postgres`` and
``roles`` must belong to PostgreSQL's user, and all others to the user that ``compose.yaml`` names. The certificate is
signed with its own key: put one of your authority in its place.
"""

import argparse
import json
import secrets
import stat
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ConfigError

NAMES: Final = ("prefect.example", "mlflow.example", "triage.example")
USER: Final = "flowsculpt"
DAYS: Final = 365
CHANNELS: Final = ("email", "slack", "webhook")
IGNORED: Final = ".gitignore"
_AUTH: Final = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = postgresql://mlflow@postgres:5432/mlflow_people
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
admin_username = {user}
admin_password = {password}
"""
_AWS: Final = "[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"


def make(folder: Path, names: Sequence[str] = NAMES) -> list[str]:
    """Make what is absent; returns the names of the files that were made.

    Args:
        folder: is made if need be, and closed to others and to git.
        names: of the hosts, for the certificate.

    Raises:
        ConfigError: git would not ignore the secrets in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _hide_from_git(folder)
    folder.chmod(stat.S_IRWXU)
    made: list[str] = []

    def once(name: str, content: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            write_bytes(path, f"{content()}\n".encode())
            made.append(name)
        path.chmod(0o600)
        return path.read_text(encoding="utf-8").strip()

    _databases(once)
    _servers(once)
    once("signing", _signing_key)
    if not (folder / "tls.pem").exists():
        certificate, key = _certificate(names)
        once("tls-key.pem", lambda: key)
        once("tls.pem", lambda: certificate)
    return made


def _hide_from_git(folder: Path) -> None:
    path = folder / IGNORED
    if not path.exists():
        write_bytes(path, b"*\n")
    if "*" not in path.read_text(encoding="utf-8").splitlines():
        raise ConfigError(
            f"{path}: has no line `*`, so git would take secrets in this folder; give a folder of their own"
        )


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _databases(once: Callable[[str, Callable[[], str]], str]) -> None:
    once("postgres", _secret)
    lines = once("pgpass", lambda: f"*:*:*:mlflow:{_secret()}\n*:*:*:prefect:{_secret()}")
    once("roles", lambda: lines)  # PostgreSQL runs as another user than those that log in


def _servers(once: Callable[[str, Callable[[], str]], str]) -> None:
    aws = once("aws", lambda: _AWS.format(key=secrets.token_hex(10), secret=_secret()).strip())
    pair = dict(line.split(" = ", 1) for line in aws.splitlines() if " = " in line)
    once("s3", lambda: _identities(pair["aws_access_key_id"], pair["aws_secret_access_key"]))
    password = once("mlflow", _secret)
    once("mlflow-auth.ini", lambda: _AUTH.format(user=USER, password=password).strip())
    once("mlflow-pages", _secret)
    once("prefect", lambda: f"{USER}:{_secret()}")
    once("triage", _secret)
    for channel in CHANNELS:
        once(f"notify-{channel}", str)  # its address is written there by whoever wants notifications


def _identities(key: str, secret: str) -> str:
    """Who may use the S3 store, as SeaweedFS reads it."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    person = {"name": USER, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
    return json.dumps({"identities": [person]}, indent=1)


def _signing_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def _certificate(names: Sequence[str]) -> tuple[str, str]:
    """A certificate for these hosts, signed with its own key, and the key; both as PEM."""
    key, name = generate_private_key(SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now, hosts = datetime.now(UTC), x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(DAYS)
    )
    signed = made.add_extension(hosts, critical=False).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return signed.public_bytes(Encoding.PEM).decode().strip(), pem.decode().strip()


def main(given: Sequence[str] | None = None) -> int:
    """Make the secrets; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.secrets", description="Make the secrets of the stack.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--names", default=",".join(NAMES), help="the names of the hosts, for the certificate")
    chosen = parser.parse_args(given)
    try:
        made = make(chosen.folder, [name.strip() for name in chosen.names.split(",") if name.strip()])
    except ConfigError as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.folder}: {', '.join(made) or 'nothing to make'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
