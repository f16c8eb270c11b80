"""Files of other tools through the stages: what is asked of a user is named, and types of files change no verdict."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import CollapseError, ExpectationError, SplitError
from pipeline.serving import arrivals, batch
from pipeline.serving.bundle import Bundle

CASES = Path(__file__).parents[3] / "shared" / "cases" / "formats"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the files of other tools are absent: {CASES}")


@pytest.fixture
def table(project: Any) -> Any:
    project.set("ingest.dataset", "table")
    project.set("preprocess.unseen", [])
    return project


def scored(bundle: Bundle, path: Path) -> dict[str, Any]:
    return batch.score(arrivals.identify(path, path), bundle, 1)


@needs_cases
def test_the_same_records_in_another_type_get_the_same_verdicts(table: Any) -> None:
    table.set("ingest.path", str(CASES / "words_by_type" / "train"))
    table.set("ingest.table.categorical", ["proto", "encrypted"])
    table.set("preprocess.features.categorical", "count")
    table.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    bundle = Bundle.of_project()
    summaries = [scored(bundle, path) for path in sorted((CASES / "words_by_type").glob("?_*"))]
    assert len(summaries) == 5
    assert {summary["records"] for summary in summaries} == {504}
    for key in ("alarms", "verdicts", "unknown_words"):
        assert [summary[key] for summary in summaries] == [summaries[0][key]] * 5
    assert summaries[0]["unknown_words"] == {}


def test_unknown_words_are_counted_in_the_summary(table: Any, tmp_path: Path) -> None:
    rows = [f"{place % 97 / 7},{('tcp', 'udp')[place % 2]},{int(place % 5 == 0)}" for place in range(600)]
    (tmp_path / "train.csv").write_text("size,proto,label\n" + "\n".join(rows) + "\n")
    table.set("ingest.path", "train.csv")
    table.set("ingest.table.categorical", ["proto"])
    table.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    (tmp_path / "new.csv").write_text("size,proto\n1,icmp\n2,tcp\n3,TCP\n4,icmp\n5,\n")
    summary = scored(Bundle.of_project(), tmp_path / "new.csv")
    assert summary["unknown_words"] == {"proto": {"records": 3, "words": {"icmp": 2, "TCP": 1}}}
    assert read_json(paths.SCORED / "summaries" / f"{arrivals.identify(tmp_path / 'new.csv', tmp_path).key(1)}.json")


@needs_cases
def test_a_table_of_constants_says_that_its_records_are_alike(table: Any) -> None:
    table.set("ingest.path", str(CASES / "t14_all_constant"))
    table.run("ingest")
    assert "all 2,397 benign records have the same values in every column" in table.refusal("preprocess", SplitError)


@needs_cases
def test_a_table_of_sixty_records_says_that_they_are_too_few(table: Any) -> None:
    table.set("ingest.path", str(CASES / "t16_sixty_records"))
    table.set("stage2.detector", "boosting")
    table.run("ingest", "preprocess", "stage1")
    assert "7 records are too few to learn from, so ingest more" in table.refusal("stage2", CollapseError)


@needs_cases
def test_a_column_of_times_that_tells_attacks_by_where_it_lies_is_a_leak(table: Any) -> None:
    table.set("ingest.path", str(CASES / "t35_row_number_leak"))
    table.run("ingest")
    said = table.refusal("validate", ExpectationError)
    assert "'when' tells all 2 attacks from benign by where its values lie" in said
    assert "ingest.*.ignore_columns" in said


@needs_cases
def test_row_numbers_of_pandas_pass_without_a_leak(table: Any) -> None:
    table.set("ingest.path", str(CASES / "t28_pandas_index"))
    table.run("ingest", "validate")


@needs_cases
def test_parquet_copies_without_ports_are_prepared(project: Any) -> None:
    project.set("ingest.path", str(CASES / "d45_parquet_no_metadata"))
    project.set("preprocess.unseen", [])
    project.run("ingest", "validate", "preprocess")
