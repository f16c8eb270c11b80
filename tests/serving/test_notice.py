"""Whoever registers a model, or looks it up, reads that it holds raw records."""

from pipeline.serving import benign, creating


def test_the_description_of_the_model_says_how_many_raw_records_a_version_holds():
    assert f"up to {benign.MOST:,} raw benign records" in creating.DESCRIPTION
