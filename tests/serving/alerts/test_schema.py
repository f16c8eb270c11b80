"""The alert has one schema, and the classes and the table agree on it."""

from dataclasses import fields

import pyarrow as pa

from pipeline.serving.alerts.schema import REASON, SCHEMA, Alert, Reason, alerts_of, key_of


def test_the_classes_have_the_columns_of_the_table() -> None:
    assert [field.name for field in fields(Alert)] == SCHEMA.names
    assert [field.name for field in fields(Reason)] == [field.name for field in REASON]


def test_a_row_becomes_an_alert_and_keeps_its_reasons() -> None:
    reason = {field.name: None for field in REASON} | {"feature": "syn_flag_count", "value": 43.0, "text": "43 SYN"}
    row = dict.fromkeys(SCHEMA.names) | {
        **{"alert": "00", "record_id": 1, "source_file": "a.csv", "row": 1, "source_sha256": "00"},
        **{"model": "m", "model_version": 1, "model_digest": "00", "score": 2.0, "p_value": 0.1, "level": "p99"},
        **{"verdict": "anomalous", "group": "", "reasons": [reason]},
    }
    (alert,) = alerts_of(pa.Table.from_pylist([row], schema=SCHEMA))
    assert alert.record_id == 1
    assert alert.reasons[0].feature == "syn_flag_count"


def test_the_key_is_one_for_each_record_and_model() -> None:
    keys = {key_of(record, digest) for record in (1, 2) for digest in ("aa", "bb")}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert key_of(1, "aa") in keys
