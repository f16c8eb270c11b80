"""Stage 1 with the losses that hold something beside the weights, or see directions alone, up to the stored model."""

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.latents import latent_groups
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.base.samples import joined
from pipeline.serving.bundle import Bundle


@pytest.mark.parametrize("loss", ["binary", "deep_sad", "clad", "modes"])
def test_the_stored_model_measures_the_margin_that_the_stage_did(prepared, loss):
    prepared.set("stage1.encoder", "residual_mlp")
    prepared.set("stage1.loss", loss)
    prepared.set("stage1.fit.min_steps", 100)
    if loss == "binary":
        prepared.set("stage1.binary.centre", "ema")
    prepared.run("stage1", "stage2", "calibrate")
    val = read_samples(paths.PROCESSED, "val")
    latent = joined([*latent_groups("val")])
    margin = latent.x[:, latent.columns.index("margin")]
    assert margin[val.y == 1].mean() > margin[val.benign].mean()
    np.testing.assert_array_equal(Bundle.of_project().model.predict(val.x).margin, margin)
    assert ("modes" in read_model(paths.ENCODER)[1]) == (loss != "clad")
