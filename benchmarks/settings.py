"""What a benchmark starts from where it measures no settings of params.yaml: the published recipe, and a plain fit.

A benchmark says with ``dataclasses.replace`` what it changes.
"""

from typing import Final

from pipeline.preprocessing.recipe import Recipe
from pipeline.settings.training import FitSettings

RECIPE: Final = Recipe(
    drop=("destination_port",),
    derive=("bytes_per_packet", "packets_per_second"),
    fill="zero",
    drop_constant=True,
    scaling="standard",
    clip=None,
    categorical="one_hot",
    rarity=(),
)
FIT: Final = FitSettings(
    epochs=10,
    min_steps=0,
    batch_size=512,
    learning_rate=3e-4,
    weight_decay=0.0,
    optimizer="adamw",
    gradient_clip=1.0,
    input_noise=0.0,
    patience=0,
    schedule="cosine",
    plateau_patience=20,
    plateau_of="train_loss",
    least_learning_rate=1e-6,
    keep="best",
    select="val_loss",
    seed=0,
    device="auto",
    devices=1,
    nodes=1,
    strategy="auto",
    precision="32-true",
)
