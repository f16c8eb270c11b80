"""Addresses leave as the settings say: in sinks and on the page of a promotion."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest

from pipeline.serving.alerts import addresses, delivery
from pipeline.serving.alerts.sinks.base import Message
from pipeline.serving.differences import Differences
from tests.serving.alerts.sinks import made
from tests.serving.alerts.test_delivery import ALERTS, KEYS, logged, project, rules

pytestmark = pytest.mark.usefixtures(project.__name__)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("host.example", None),
        (None, None),
    ],
)
def test_an_address_is_whole_its_network_or_hidden(address, network):
    assert addresses.shown(address, "whole") == address
    assert addresses.shown(address, "network") == network
    assert addresses.shown(address, "hidden") is None


@pytest.mark.parametrize(("how", "left"), [("network", "/24"), ("hidden", None)])
def test_no_sink_gets_an_address_and_keys_stay(how, left):
    wanted = replace(rules("eve", "ecs", "parquet", incidents=("eve", "ecs")), addresses=how)
    told = made.Incident()
    names = {name for name, _ in (*told.sources, *told.destinations)} | {ALERTS[0].src_ip, ALERTS[0].dst_ip}
    delivery.hand_over_incidents([told], wanted)
    assert all(each.is_clear for each in delivery.deliver(ALERTS, wanted))
    written = [path.read_text() for path in (Path("eve.json"), Path("ecs.json"))]
    written.append(str(pa.dataset.dataset("table").to_table().to_pylist()))
    for text in written:
        assert not [name for name in names if re.search(rf"(?<![0-9.]){re.escape(name)}(?![0-9./])", text)]
        assert (left or "/24") in text or left is None
    assert [key for key in logged() if key in KEYS] == KEYS


def test_hosts_of_one_network_are_one_and_counts_stay():
    told = {"sources": [("192.0.2.7", 3), ("198.51.100.1", 4), ("192.0.2.9", 2)], "source_count": 3}
    message = Message("key", "incident", datetime.now(UTC), told)
    found = addresses.leaving(message, "network").content
    assert found == {"sources": [("192.0.2.0/24", 5), ("198.51.100.0/24", 4)], "source_count": 3}
    assert addresses.leaving(message, "hidden").content == {"sources": [], "source_count": 3}


@pytest.mark.parametrize(
    ("how", "hosts", "where"),
    [("whole", "192.0.2.7", "192.0.2.7"), ("network", "192.0.2.0/24", "192.0.2.0/24"), ("hidden", "", "")],
)
def test_the_page_of_a_promotion_lists_hosts_as_the_setting_says(how, hosts, where):
    records = pa.table({"src_ip": ["192.0.2.7"], "dst_port": [443]})
    ours, theirs = (
        SimpleNamespace(flagged={"p99": np.array([flagged])}, p_value=np.array([0.5])) for flagged in (True, False)
    )
    found = Differences(addresses=how)
    found.add("a.csv", records, ours, theirs, "p99")
    assert [name for name, *_ in found.most("host", 9)] == [hosts]
    assert found.first[0].where.get("src_ip", "") == where and found.first[0].where["dst_port"] == "443"
