"""Receivers on this machine: of syslog by datagrams and streams, and of webhooks."""

import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def datagrams(family=socket.AF_INET, address=("127.0.0.1", 0)):
    """A socket for datagrams; gives its address, and a function that returns the next ones."""
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        receiver.settimeout(10)
        yield receiver.getsockname(), lambda n: [receiver.recv(65_536) for _ in range(n)]


@contextmanager
def stream(checks=None, keeps_open=False):
    """A server that reads each connection to its end; gives its port and the list of what each one sent."""
    got, done = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        thread = threading.Thread(target=_accept, args=(server, checks, keeps_open, got, done))
        thread.start()
        try:
            yield server.getsockname()[1], got
        finally:
            done.set()
            thread.join()


def _accept(server, checks, keeps_open, got, done):
    while not done.is_set():
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        connection.settimeout(10)
        try:
            if checks is not None:
                connection = checks.wrap_socket(connection, server_side=True)
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
            got.append(b"".join(parts))
            if keeps_open:
                done.wait()
            elif checks is not None:
                connection.unwrap()
        except (ssl.SSLError, OSError) as error:
            got.append(error)
        finally:
            connection.close()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A sender that was killed is no error."""


class Hook:
    """A receiver of webhooks: answers what it is told to, and keeps each request."""

    def __init__(self):
        self.requests, self.answers = [], []

    def taken(self):
        """The keys of those that were answered with 200, in their order."""
        return [said["webhook-id"] for said, _, answer in self.requests if answer == 200]


@contextmanager
def webhook(checks=None):
    """A server for webhooks; gives its port and the ``Hook``."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = hook.answers.pop(0) if hook.answers else 200
            hook.requests.append((dict(self.headers), body, answer))
            if answer == "hang up":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = _Quiet(("127.0.0.1", 0), Handler)
    if checks is not None:
        server.socket = checks.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder):
    """A certificate for 127.0.0.1 that signs itself: the path of a file with it and its key."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, mine = datetime.now(UTC), x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(mine, critical=True).add_extension(x509.BasicConstraints(True, None), critical=True)
    signed = made.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(private + signed.public_bytes(pem))
    return path


def with_certificate(path):
    """What a server needs for TLS."""
    checks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    checks.load_cert_chain(path)
    return checks
