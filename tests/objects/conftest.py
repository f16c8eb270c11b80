"""A server that answers as a store that is wrong would."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>raw/</Prefix>
<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>
<Contents><Key>raw/x.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"0123"</ETag>
<Size>100</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"""


@pytest.fixture
def strange(login, monkeypatch):
    """A server that lists one object of 100 bytes and answers a GET of it as ``answer`` says."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            if "list-type" in self.path:
                self.say(200, LISTING.encode(), {"Content-Type": "application/xml"})
            else:
                Answers.answer(self)

        def do_HEAD(self):
            self.say(200, b"", {"Content-Length": "100", "ETag": '"0123"'})

        def say(self, code, body, headers):
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *given):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield Answers
    server.shutdown()
    server.server_close()
