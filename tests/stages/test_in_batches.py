"""The registered model as Spark and `mlflow models serve` call it: in parts, whole numbers, columns in any order."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.serving import packaging
from tests.stages.test_pyfunc import pyfunc  # noqa: F401

SPARK = {
    "double": np.float64,
    "float": np.float32,
    "long": np.int64,
    "string": object,
}  # as mlflow.pyfunc.spark_udf has it
OF_THE_CALL = ["contract", "notice"]  # which depend on all records that are asked for at once


@pytest.fixture
def wednesday(week):
    """Records with attacks, the types of columns as a table of Spark has them: whole numbers of several sizes."""
    frame = pd.read_csv(next(path for path in sorted(week.iterdir()) if "Wednesday" in path.name)).drop(
        columns=" Label"
    )
    sizes = {np.int16: 2**15, np.int32: 2**31, np.int64: 2**63}
    for name in frame.columns[(frame % 1 == 0).all()]:
        kind = next(kind for kind, most in sizes.items() if frame[name].abs().max() < most)
        frame[name] = frame[name].astype(kind)
    return frame


def as_spark_returns(judged):
    """The columns cast as ``spark_udf`` casts them, each as bytes or texts."""
    assert [*judged.columns] == [*packaging.PREDICTION]
    found = {}
    for name, kind in packaging.PREDICTION.items():
        values = judged[name]
        if not values.isna().all():
            values = values.astype(SPARK[kind])
        found[name] = values.tolist() if kind in ("string", "long") else values.to_numpy().tobytes()
    return found


def test_records_are_judged_alike_however_they_are_parted(pyfunc, wednesday):  # noqa: F811
    model, *_ = pyfunc
    whole = model.predict(wednesday, params={"reasons": 1})
    assert {"int16", "int32"} <= {str(kind) for kind in wednesday.dtypes}
    expected = as_spark_returns(whole)
    for cut in (1, len(wednesday) // 3, len(wednesday) - 1):
        parts = [wednesday.iloc[:cut], wednesday.iloc[cut:]]
        found = [model.predict(part.reset_index(drop=True), params={"reasons": 1}) for part in parts]
        together = as_spark_returns(pd.concat(found, ignore_index=True))
        for name in expected.keys() - {*OF_THE_CALL}:
            assert together[name] == expected[name], (cut, name)


def test_columns_in_another_order_and_more_of_them_change_nothing(pyfunc, wednesday):  # noqa: F811
    model, *_ = pyfunc
    shuffled = wednesday[np.random.default_rng(0).permutation(wednesday.columns)].assign(partition=7)
    pd.testing.assert_frame_equal(model.predict(shuffled), model.predict(wednesday))


def test_whole_numbers_are_judged_as_the_same_numbers_with_a_point(pyfunc, wednesday):  # noqa: F811
    model, *_ = pyfunc
    pd.testing.assert_frame_equal(model.predict(wednesday), model.predict(wednesday.astype(np.float64)))


def test_a_part_without_records_has_an_answer_without_rows(pyfunc, wednesday):  # noqa: F811
    model, *_ = pyfunc
    judged = model.predict(wednesday.iloc[:0])
    assert len(judged) == 0
    assert [*judged.columns] == [*packaging.PREDICTION]


def test_a_server_takes_whole_numbers(pyfunc, wednesday):  # noqa: F811
    from mlflow.pyfunc import scoring_server

    model, *_ = pyfunc
    few = wednesday.head(40)
    asked = json.dumps({"dataframe_split": few.to_dict(orient="split", index=False)})
    answer = scoring_server.invocations(asked, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200, answer.response
    judged = pd.DataFrame(json.loads(answer.response)["predictions"])
    np.testing.assert_array_equal(judged["score"], model.predict(few)["score"])
