"""A bundle knows what it was fitted on, and each file that is scored is held against it."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flows import score
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import SchemaError
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.serving import arrivals, batch, intake
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import WARN
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.scored import summary_path

REFUSE = replace(WARN, action="refuse")


@pytest.fixture
def bundle(prepared: Any) -> Bundle:
    return Bundle.of_project()


@pytest.fixture
def file(folder: Any) -> Any:
    return next(path for path in folder.iterdir() if "Monday" in path.name)


def changed(file: Any, **columns: Any) -> Any:
    """The same file with some columns made anew: header without spaces -> the function of a cell."""
    head, *rows = [line.split(",") for line in file.read_text().splitlines()]
    names = [name.strip() for name in head]
    for name, change in columns.items():
        place = names.index(name.replace("_", " "))
        for row in rows:
            row[place] = change(row[place])
    file.write_text("".join(",".join(row) + "\n" for row in [head, *rows]))
    return file


def held(file: Any, bundle: Bundle, **rules: Any) -> dict[str, Any]:
    (found,) = arrivals.find(file)
    summary = batch.score(found, bundle, 3, rules=replace(WARN, **rules))
    assert read_json(summary_path(found.key(3)))["contract"] == summary["contract"]
    return summary["contract"]  # type: ignore[no-any-return]


def test_the_contract_says_what_the_model_was_fitted_on(bundle: Bundle) -> None:
    contract = bundle.contract
    assert contract is not None
    records = read_table(paths.RECORDS).to_pandas()
    mine = records[records["record_id"].isin(bundle.used)]
    assert contract["records"] == len(mine) == len(bundle.used)
    assert contract["extractors"] == [{"tool": "cicflowmeter_2017", "first_packet": "twice"}]
    assert contract["reads"] == [column.name for column in bundle.columns]
    assert contract["columns"].keys() == {*FEATURE_NAMES}
    for name, limits in contract["columns"].items():
        finite = mine[name][np.isfinite(mine[name])]
        assert (limits["low"], limits["high"]) == (finite.min(), finite.max())
        assert limits["low"] <= limits["p01"] <= limits["p50"] <= limits["p99"] <= limits["high"]
        assert limits["undefined"] == pytest.approx(1 - len(finite) / len(mine))
    assert json.loads(json.dumps(contract)) == contract


def test_records_of_the_same_kind_keep_it(bundle: Bundle, file: Any) -> None:
    found = held(file, bundle)
    assert (found["state"], found["foreign"]) == ("kept", False)
    assert found["sentences"] == []
    assert any("It has the names of CICFlowMeter of CIC-IDS-2017" in said for said in found["read"])


def test_values_beyond_what_was_seen_are_counted_and_named(bundle: Bundle, file: Any) -> None:
    found = held(changed(file, Idle_Max=lambda cell: "1e15"), bundle)
    assert (found["state"], found["foreign"]) == ("broken", False)  # an attack may lie there as well
    (said,) = found["sentences"][:1]
    assert "(100%) have a value outside the range that the model has seen, most often in idle_max" in said
    assert found["outside"]["columns"]["idle_max"] == found["outside"]["records"]


def test_a_column_that_no_longer_varies_and_one_that_does_are_named(bundle: Bundle, file: Any) -> None:
    assert bundle.contract is not None
    limits = bundle.contract["columns"]["cwr_flag_count"]
    assert limits["low"] == limits["high"] == 0
    numbers = iter(range(10**6))
    varying = changed(file, Fwd_Packet_Length_Mean=lambda cell: "7", CWE_Flag_Count=lambda cell: str(next(numbers) % 2))
    found = held(varying, bundle)
    assert "fwd_packet_length_mean" in found["constant"]
    assert found["no_longer_constant"] == ["cwr_flag_count"]
    assert any(
        "Several values, where the model has seen one alone: cwr_flag_count." in said for said in found["sentences"]
    )


def test_another_tool_is_named_with_the_columns_that_mean_something_else(bundle: Bundle, file: Any) -> None:
    head, *rows = [line.split(",") for line in file.read_text().splitlines()]
    names = [name.strip() for name in head]
    at = {name: names.index(name) for name in ("Packet Length Mean", "Total Fwd Packets", "Total Backward Packets")}
    sizes = [names.index(f"Total Length of {side} Packets") for side in ("Fwd", "Bwd")]
    for row in rows:  # each packet once
        packets = float(row[at["Total Fwd Packets"]]) + float(row[at["Total Backward Packets"]])
        row[at["Packet Length Mean"]] = repr(sum(float(row[place]) for place in sizes) / packets)
    file.write_text("".join(",".join(row) + "\n" for row in [head, *rows]))
    found = held(file, bundle)
    assert (found["state"], found["foreign"]) == ("broken", True)
    assert "Another tool wrote it" in found["sentences"][0]
    assert "counts the first packet once; the model was fitted on records of" in found["sentences"][0]
    assert "columns may not mean the same: " in found["sentences"][0]
    assert "fwd_header_length" in found["sentences"][0]


def test_what_breaks_it_goes_into_quarantine_where_the_rules_say_so(bundle: Bundle, file: Any) -> None:
    (usual,) = arrivals.find(file)
    assert isinstance(intake.score(usual, bundle, 3, rules=REFUSE), dict)
    (found,) = arrivals.find(changed(file, Idle_Max=lambda cell: "1e15"))
    with pytest.raises(SchemaError, match=r"outside the range .* scoring\.contract\.action is refuse"):
        batch.score(found, bundle, 4, rules=REFUSE)
    assert not (paths.SCORED / f"{found.key(4)}.parquet").exists()
    done = intake.score(found, bundle, 4, rules=REFUSE)
    assert "outside the range" in getattr(done, "reason", "")


def test_an_older_bundle_loads_and_says_that_it_has_none(bundle: Bundle, file: Any) -> None:
    about = {name: value for name, value in bundle.sealed.about.items() if name != "contract"}
    older = Bundle.of_sealed(HashedFolder(about, bundle.sealed.files), paths.DATA)
    assert older.contract is None
    found = held(file, older)
    assert found["state"] == "none"
    assert "The model has no contract" in found["sentences"][0]


def test_the_command_prints_what_was_found(store: Any, folder: Any, capsys: Any) -> None:
    file = next(path for path in folder.iterdir() if "Monday" in path.name)
    assert score.main([str(changed(file, Idle_Max=lambda cell: "1e15"))]) == 0
    said = capsys.readouterr().out
    assert "outside the range that the model has seen, most often in idle_max" in said
    assert "Durations are in" not in said
    shutil.rmtree(paths.SCORED)


def test_milliseconds_are_converted_and_get_the_same_verdicts(bundle: Bundle, file: Any, tmp_path: Any) -> None:
    (usual,) = arrivals.find(file)
    expected = batch.score(usual, bundle, 3)
    timed = [f"{side} IAT {part}" for side in ("Flow", "Fwd", "Bwd") for part in ("Total", "Mean", "Std", "Max", "Min")]
    timed += [f"{kind} {part}" for kind in ("Active", "Idle") for part in ("Mean", "Std", "Max", "Min")]
    names = [name.strip() for name in file.read_text().partition("\n")[0].split(",")]
    wanted = {name.replace(" ", "_") for name in ("Flow Duration", *timed) if name in names}
    changed(file, **{name: lambda cell: repr(float(cell) / 1000) for name in wanted})
    (milli,) = arrivals.find(file)
    found = batch.score(milli, bundle, 3)
    assert found["verdicts"] == expected["verdicts"]
    assert any("Durations are in milliseconds" in said for said in found["contract"]["read"])
