"""nginx with TLS before the servers, by the configuration that the documentation shows."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from flows.runtime.servers import free_port
from tests.end_to_end.conftest import ROOT

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
NAMES = ("prefect.example", "mlflow.example", "triage.example")
AROUND = """daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/flowsculpt.conf;
}}
"""


def certified(folder):
    """A certificate for the names, signed with its own key, and the key."""
    key, name = generate_private_key(SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAMES[0])])
    now, others = datetime.now(UTC), x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    signed = made.add_extension(others, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)


@contextmanager
def proxied(folder, servers):
    """The documented configuration with other ports; gives a function that asks by a name and tells the status."""
    certified(folder)
    port = free_port()
    text = (ROOT / "docs" / "examples" / "nginx.conf").read_text()
    text = text.replace("/etc/nginx/flowsculpt.pem", f"{folder}/cert.pem")
    text = text.replace("/etc/nginx/flowsculpt-key.pem", f"{folder}/key.pem").replace("listen 443", f"listen {port}")
    for known, address in servers.items():
        text = text.replace(f"127.0.0.1:{known}", urlsplit(address).netloc)
    (folder / "flowsculpt.conf").write_text(text)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.PIPE)
    try:
        _wait(process, port)
        yield lambda *given: _ask(folder, port, *given)
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def _wait(process, port):
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _ask(folder, port, name, path, login=None, origin="", body=None):
    trust = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    with (
        socket.create_connection(("127.0.0.1", port), 60) as plain,
        trust.wrap_socket(plain, server_hostname=name) as sock,
    ):
        connection = http.client.HTTPConnection(name)
        connection.sock = sock
        headers = {"Host": name, **({"Origin": origin} if origin else {})}
        if login:
            headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, content, headers)
        return connection.getresponse().status
