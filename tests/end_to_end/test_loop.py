"""The whole loop: a capture becomes records, alerts, incidents and messages; five marks teach the next model.

A network knows its own benign traffic alone. A capture of a day comes in, with a port scan and a flood in it. Its
alerts reach three sinks. An analyst confirms five of the scan on the page, five of the flood by ``flowsculpt label``,
and dismisses the false ones. The model that is trained then passes the gate, finds the rest of both and is quiet about
what was dismissed. One alert leads back to the capture.
"""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseRequestHandler, ThreadingUDPServer

import pandas as pd
import pytest

from pipeline.artifacts.files import sha256_of
from pipeline.datasets.synthetic.captures import write_captures
from tests.end_to_end.browser import PROGRAM, browser
from tests.end_to_end.conftest import Project
from tests.end_to_end.triage import log_in, serving

SCANNER, FLOODER, BOT = (f"198.51.100.{host}" for host in (2, 3, 9))  # of the simulated Friday
DAY = "2017-07-07-friday.pcap"
HOOK = "the key of the signatures of a test"
SETTINGS = {
    "ingest": {"dataset": "pcap", "path": "benign"},
    "stage2": {"calibration": {"folds": 2}, "boosting": {"trees": 40}},
    "evaluate": {"bootstrap": {"rounds": 100}, "latent_map_rows": 200},
    "promotion": {"min_benign": 200, "rounds": 100},
}


class Received:
    """A webhook and a syslog receiver of this machine, and what they got."""

    def __init__(self):
        self.posts, self.datagrams = [], []
        received = self

        class Post(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.posts.append((self.headers["Idempotency-Key"].strip('"'), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Datagram(BaseRequestHandler):
            def handle(self):
                received.datagrams.append(self.request[0].decode())

        self.servers = [HTTPServer(("127.0.0.1", 0), Post), ThreadingUDPServer(("127.0.0.1", 0), Datagram)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    @property
    def settings(self):
        web, log = (server.server_address[1] for server in self.servers)
        return {
            "active": ["eve", "syslog", "webhook"],
            "syslog": {"transport": "udp", "address": f"127.0.0.1:{log}"},
            "webhook": {"url": f"http://127.0.0.1:{web}/alerts"},
        }

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def network(tmp_path):
    """A project with a champion that knows three days of benign traffic, and a day that came in since."""
    received = Received()
    made = Project(tmp_path)
    made.settings(SETTINGS | {"alerts": {"sinks": received.settings}})
    write_captures(tmp_path / "benign", 6000, 3, 1)
    write_captures(tmp_path / "later", 4000, 5, 2, attacks=True)
    (tmp_path / "incoming").mkdir()
    shutil.copy(tmp_path / "later" / DAY, tmp_path / "incoming" / DAY)
    made.commit()
    made.received = received
    made.call("flowsculpt", "train", "--promote")
    yield made
    received.close()


def scored(project, version):
    """The records of the day, which of them are of the scan, and which raise an alert."""
    (path,) = (project.folder / "data" / "scored").glob(f"*{DAY}*-v{version}.parquet")
    table, alerts = pd.read_parquet(path), pd.read_parquet(path.parent / "alerts" / path.name)
    return table.assign(alert=table.record_id.isin(alerts.record_id)), alerts


def of(table, *hosts):
    """(n,) which records have one of these hosts at an end."""
    return table.src_ip.astype(str).isin(hosts) | table.dst_ip.astype(str).isin(hosts)


def decisions(project):
    lines = (project.folder / "data" / "promotions.jsonl").read_text().splitlines()
    return [json.loads(line)["decision"] for line in lines]


def sign_in(page, address):
    page.size(1400, 900)
    log_in(page, address)
    page.wait("document.querySelector('tr.at')")


def mark(page, address, alerts, verdict, name=""):
    """Mark alerts on their own pages, by keyboard."""
    for alert in alerts:
        page.open(f"{address}/alert/{alert}", "flowsculpt")
        page.wait("document.documentElement.className == 'script'")
        page.keys(verdict)
        if name:
            page.type(name)
            page.keys("Enter")
        page.wait("document.querySelector('.message')?.textContent.includes('1 alert marked')")


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_five_marks_on_the_page_teach_the_next_model(network):
    network.call("flowsculpt", "score", f"incoming/{DAY}", FLOWSCULPT_WEBHOOK_SECRET=HOOK)
    before, alerts = scored(network, 1)
    for attacker in (SCANNER, FLOODER):
        assert of(before, attacker).sum() > 40
        assert before[of(before, attacker)].alert.sum() >= 10

    # Each alert reached each sink once; the scan is one incident, and its reasons are said in words.
    keys = {*alerts.alert}
    eve = [json.loads(line) for line in (network.folder / "data" / "sinks" / "eve.json").read_text().splitlines()]
    assert len(eve) >= len(keys)
    assert {key for key, _ in network.received.posts} >= keys
    assert all(any(key in text for text in network.received.datagrams) for key in keys)
    incidents = json.loads(network.call("flowsculpt", "incidents", "--json"))
    assert SCANNER in json.dumps(incidents)
    assert alerts.reasons.map(len).min() >= 1

    # Five marks of the scan on the page, five of the flood by the command; what is benign is dismissed.
    scan, flood = (alerts[of(alerts, attacker)].nlargest(5, "score") for attacker in (SCANNER, FLOODER))
    dismissed = alerts[~of(alerts, SCANNER, FLOODER, BOT)]
    with serving(network.folder) as (address, _), browser() as page:
        sign_in(page, address)
        mark(page, address, scan.alert, "a", "port scan")
        mark(page, address, dismissed.alert, "b")
    ids = [f"{number:016x}" for number in flood.record_id]
    refused = network.call("flowsculpt", "label", *ids, "--confirmed", "ddso", ok=False)
    assert "'ddso' is no known attack (did you mean 'ddos'?)" in refused
    network.call("flowsculpt", "label", *ids, "--confirmed", "ddos", "--by", "ada")
    text = (network.folder / "data" / "labels.jsonl").read_text()
    lines = [json.loads(line) for line in text.split("\n") if line]
    expected = ["confirmed"] * 5 + ["dismissed"] * len(dismissed) + ["confirmed"] * 5
    assert [line["label"] for line in lines] == expected

    # The next training learns them, and the gate lets it through.
    network.commit()
    network.call("flowsculpt", "train", "--promote")
    assert decisions(network) == ["promoted", "promoted"]
    splits = json.loads((network.folder / "data" / "reports" / "preprocess" / "splits.json").read_text())
    assert splits["labels_of_analysts"]["confirmed"] == {"ddos": 5, "port_scan": 5}

    # The rest of both is found, and what was dismissed is quiet.
    said = network.call("flowsculpt", "score", f"incoming/{DAY}", "--rescore", FLOWSCULPT_WEBHOOK_SECRET=HOOK)
    after, _ = scored(network, 2)
    assert after.record_id.equals(before.record_id)
    for attacker, marked in ((SCANNER, scan), (FLOODER, flood)):
        rest = of(after, attacker) & ~after.record_id.isin(marked.record_id)
        assert after[rest].alert.mean() >= max(0.95, before[rest].alert.mean())
    assert not after[after.record_id.isin(dismissed.record_id)].alert.any()
    assert "new" in said

    # From an alert back to the capture that it is of, and the captures that its model learnt from.
    chain = json.loads(network.call("flowsculpt", "lineage", scan.alert.iloc[0], "--json"))
    assert chain["alert"]["source_sha256"] == sha256_of(network.folder / "incoming" / DAY)
    assert chain["version"]["number"] == 1
    assert "ingest" in {stage["stage"] for stage in chain["stages"]}
    assert "benign" in chain["data"]["inputs"]
