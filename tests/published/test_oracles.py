"""The published formulas, written down once more in NumPy, against the systems that the presets build.

Weights are copied and everything is in float64. Sources stand in the heads of the presets.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from flows.runtime import presets
from pipeline import config
from pipeline.base.registry import build
from pipeline.calibration.confidence import Binary
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.evt import EVT
from pipeline.calibration.thresholds.knuth import Histogram
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.calibration.thresholds.triangular import Triangular, corner
from pipeline.models.base import Batch
from pipeline.models.detectors.grand import GRAnD
from pipeline.models.detectors.maf import MAF
from pipeline.models.detectors.radon import RADON
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.cnn_transformer import CNNTransformer
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.encoders.registry import ENCODERS

ROOT = Path(__file__).parents[2]


def held(preset: str, before: str) -> dict[str, Any]:
    """The settings of a preset under a dotted name."""
    settings = presets.read(preset, ROOT / "presets")
    return {key.removeprefix(f"{before}."): value for key, value in settings.items() if key.startswith(f"{before}.")}


def built(preset: str, width: int, **changes: Any) -> Any:
    """The detector of a preset with weights that are not small, in float64."""
    torch.manual_seed(0)
    name = held(preset, "stage2")["detector"]
    model = build(DETECTORS, name, features=width, **held(preset, f"stage2.{name}") | changes).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def records(n: int, width: int, seed: int = 0) -> torch.Tensor:
    """In [0, 1]."""
    return torch.rand(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def arrays(module: nn.Module) -> list[np.ndarray]:
    """Weight and bias of each affine layer."""
    return [
        tensor.detach().numpy()
        for part in module.modules()
        if isinstance(part, nn.Linear)
        for tensor in (part.weight, part.bias)
    ]


def forward(x: np.ndarray, layers: list[np.ndarray]) -> np.ndarray:
    """Affine layers with a ReLU between them."""
    for i in range(0, len(layers), 2):
        x = x @ layers[i].T + layers[i + 1]
        x = np.maximum(x, 0) if i + 2 < len(layers) else x
    return x


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Latent Sculpting.


def test_dccl_and_its_gradient() -> None:
    settings = held("latent_sculpting", "stage1.dccl")
    loss = DCCL(**settings)
    z = (records(12, 5) * 3).requires_grad_()
    y = torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1])
    mine = loss(z, Batch(torch.zeros(12, 1), y, torch.ones(12)))
    (gradient,) = torch.autograd.grad(mine, z)
    values, expected, gap = z.detach().numpy(), np.zeros((12, 5)), 0.0
    centres = [values[y == label].mean(0) for label in (0, 1)]
    between = centres[0] - centres[1]
    total = settings["gamma"] * max(0.0, settings["margin"] - between @ between)
    for label, weight in ((0, settings["alpha"]), (1, settings["beta"])):
        rows = np.flatnonzero(y.numpy() == label)
        away = values[rows] - centres[label]
        total += weight * (away**2).sum(1).mean()
        # The centre's own gradient cancels in compactness; in separation it is all there is.
        expected[rows] += 2 * weight * away / len(rows)
        if settings["margin"] > between @ between:
            sign = 1 if label == 0 else -1
            expected[rows] -= 2 * settings["gamma"] * sign * between / len(rows)
            gap += 1
    assert gap == 2
    assert mine.item() == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-12)


def test_the_transformer_layers_of_the_preset_start_as_copies_and_by_default_apart() -> None:
    settings = held("latent_sculpting", "stage1.cnn_transformer")
    for start, same in (("copies", True), ("apart", False)):
        encoder = build(ENCODERS, "cnn_transformer", features=71, loss=DCCL(), **settings | {"layers_start": start})
        assert isinstance(encoder, CNNTransformer)
        first, *others = [layer.state_dict() for layer in encoder.transformer]
        alike = [torch.equal(first[name], other[name]) for other in others for name in ("widen.weight", "narrow.bias")]
        assert set(alike) == {same}
        owners = {parameter.data_ptr() for parameter in encoder.transformer.parameters()}
        assert len(owners) == len(list(encoder.transformer.parameters()))  # copies, not one layer three times
    assert settings["layers_start"] == "copies"


def test_the_flow_reads_the_latent_as_it_is_and_has_the_published_density() -> None:
    model = built("latent_sculpting", 6, hidden=20)
    assert isinstance(model, MAF)
    x = records(9, 6) * 4 - 1
    model.fit(x * 100)
    found = model.log_prob(x).detach().numpy()
    z, log_det = x.numpy(), np.zeros(9)
    for layer in range(len(model.weight_in)):
        into = (model.weight_in[layer] * model.masks_in[layer]).detach().numpy()
        out = (model.weight_out[layer] * model.masks_out[layer]).detach().numpy()
        hidden = np.maximum(z @ into.T + model.bias_in[layer].detach().numpy(), 0)
        s, t = np.split(hidden @ out.T + model.bias_out[layer].detach().numpy(), 2, axis=1)
        z, log_det = z * np.exp(np.tanh(s)) + t, log_det + np.tanh(s).sum(1)
    normal = -0.5 * (z**2 + np.log(2 * np.pi)).sum(1)
    np.testing.assert_allclose(found, normal + log_det, rtol=1e-10)


def test_a_standardised_flow_is_another_one() -> None:
    x = records(9, 6) * 4
    raw, other = (built("latent_sculpting", 6, hidden=20, standardise=standardise) for standardise in (False, True))
    for model in (raw, other):
        model.fit(x)
    assert not torch.allclose(raw.score(x), other.score(x))


# RADON.


def cosine_score(model: RADON, x: np.ndarray) -> np.ndarray:
    given = sigmoid(forward(x, arrays(model.autoencoder)))
    return 1 - (given * x).sum(1) / (np.linalg.norm(given, axis=1) * np.linalg.norm(x, axis=1))


def test_the_score_of_radon_is_one_less_the_cosine_and_lies_in_0_to_1() -> None:
    model, x = built("radon", 7, hidden=(6, 3)), records(50, 7)
    model.fit(x)
    score = model.score(x).detach().numpy()
    np.testing.assert_allclose(score, cosine_score(model, x.numpy()), atol=1e-12)
    assert ((score >= 0) & (score <= 1)).all()


def test_the_loss_of_radon() -> None:
    model, x = built("radon", 7, hidden=(6, 3)), records(8, 7)
    confidence = np.array([1, 1, -1, 0, 1, -1, 0, 1])
    s = 1 - cosine_score(model, x.numpy())
    expected = ((1 - s[confidence == 1]) ** 2).sum() + (s[confidence == -1] ** 2).sum()
    expected /= np.count_nonzero(confidence)
    batch = Batch(x, torch.zeros(8), torch.from_numpy(confidence).double())
    assert model.loss(batch).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("offset", [0.5, 1.0])
def test_the_gradients_of_radon_by_hand_pass_the_sigmoid(offset: float) -> None:
    model, x = built("radon", 7, hidden=(6, 3), offset=offset), records(8, 7)
    batch = Batch(x, torch.zeros(8), torch.tensor([1.0, 1, -1, 0, 1, -1, 0.5, 1], dtype=torch.float64))
    found = model.loss_and_gradients(batch)
    assert found is not None
    wanted = torch.autograd.grad(model.loss(batch), tuple(model.parameters()))
    for mine, theirs in zip(found[1], wanted, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


def test_radon_refuses_an_output_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="output must be one of affine, sigmoid, not 'tanh'"):
        RADON(4, output="tanh")  # type: ignore[arg-type]


# GRAnD.


def energies(model: GRAnD, x: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the decoder gives, log q(z_K) - log p(z_K) and x's cross entropy or squared error, of one draw."""
    mean, log_var = np.split(forward(x, arrays(model.encoder)), 2, axis=1)
    log_var = log_var.clip(-20, 2)
    z = mean + np.exp(log_var / 2) * noise
    log_q = -0.5 * (noise**2 + log_var + np.log(2 * np.pi)).sum(1)
    assert model.planar is not None
    for w, u, b in zip(
        *(each.detach().numpy() for each in (model.planar.w, model.planar.u, model.planar.b)), strict=True
    ):
        along = np.log1p(np.exp(w @ u)) - 1
        kept = u + (along - w @ u) * w / (w @ w)  # so that the map can be inverted
        bend = np.tanh(z @ w + b)
        log_q -= np.log(np.abs(1 + (1 - bend**2) * (kept @ w)))
        z = z + np.outer(bend, kept)
    log_p = -0.5 * (z**2 + np.log(2 * np.pi)).sum(1)
    return forward(z, arrays(model.decoder)), log_q - log_p, x


def error(given: np.ndarray, x: np.ndarray, likelihood: str) -> np.ndarray:
    if likelihood == "gaussian":
        return ((given - x) ** 2).sum(1)
    p = sigmoid(given)
    return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)


def drawn(n: int, latent: int) -> torch.Tensor:
    return torch.randn(n, latent, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("floor", [None, 1e-9])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_free_energy_of_grand(floor: float | None, likelihood: str) -> None:
    model, x, noise = built("grand", 6, kl_floor=floor, likelihood=likelihood), records(200, 6), drawn(200, 4)
    given, divergence, _ = energies(model, x.numpy(), noise.numpy())
    assert (divergence < 0).any()  # as one draw may be: what the floor is for
    lifted = divergence if floor is None else np.maximum(divergence, floor)
    found = model.free_energy(x, noise).detach().numpy()
    np.testing.assert_allclose(found, error(given, x.numpy(), likelihood) + lifted, rtol=1e-9)


def test_the_floor_of_the_divergence_leaves_its_gradient() -> None:
    gradients = []
    for floor in (None, 1e-9):
        model, x, noise = built("grand", 6, kl_floor=floor), records(200, 6), drawn(200, 4)
        gradients.append(torch.autograd.grad(model.free_energy(x, noise).sum(), tuple(model.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other)


def test_the_loss_of_the_preprint(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, noise = built("grand", 6).train(), records(9, 6), drawn(9, 4)
    monkeypatch.setattr(model, "_noise", lambda _: noise)
    confidence = np.array([1, 1, -1, 0, 1, -1, 0, 1, 1])
    given, divergence, values = energies(model, x.numpy(), noise.numpy())
    nominal = error(given, values, "bernoulli") + divergence
    anomalous = error(given, 1 - values, "bernoulli") + np.abs(10 - divergence)
    expected = (nominal[confidence == 1].sum() + anomalous[confidence == -1].sum()) / 9
    batch = Batch(x, torch.zeros(9), torch.from_numpy(confidence).double())
    assert model.loss_and_gradients(batch) is None
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-9)


def test_the_loss_of_the_package_by_hand_and_by_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"push": "absolute", "margin": 100.0, "unknown": "ecdf", "likelihood": "gaussian", "kl_floor": 1e-9}
    model, x, noise = built("grand", 6, **other).train(), records(9, 6), drawn(9, 4)
    monkeypatch.setattr(model, "_noise", lambda _: noise)
    confidence = np.array([1, 1, -1, 0, 1, -1, 0, 1, 0])
    given, divergence, values = energies(model, x.numpy(), noise.numpy())
    energy = error(given, values, "gaussian") + np.maximum(divergence, 1e-9)
    unknown = energy[confidence == 0]
    rank = np.array([(unknown <= each).mean() for each in unknown])
    expected = energy[confidence == 1].sum() + np.abs(100 - energy[confidence == -1]).sum()
    expected = (expected + (rank * np.abs(100 - unknown)).sum()) / 9
    batch = Batch(x, torch.zeros(9), torch.from_numpy(confidence).double())
    assert model.loss(batch).item() == pytest.approx(expected, rel=1e-9)
    found = model.loss_and_gradients(batch)
    assert found is not None
    assert found[0].item() == pytest.approx(expected, rel=1e-9)
    for mine, theirs in zip(found[1], torch.autograd.grad(model.loss(batch), tuple(model.parameters())), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-9)


def test_an_inverted_push_needs_features_in_0_to_1() -> None:
    with pytest.raises(ValueError, match="push inverted takes features in"):
        GRAnD(4, push="inverted")


# Thresholds and confidence.


def package_corner(counts: np.ndarray) -> int:
    """Right of the peak, the bin furthest below the line that ends at height 0, inside the last bin or after it."""
    peak, last = int(counts.argmax()), int(np.flatnonzero(counts)[-1])
    end = np.array([min(last + 1, len(counts) - 1), 0.0])
    top = np.array([peak, counts[peak]], dtype=float)
    along = (end - top) / np.linalg.norm(end - top)
    below = [along[0] * (top[1] - counts[i]) - along[1] * (top[0] - i) for i in range(peak, last + 1)]
    return peak + int(np.argmax(np.round(below, 9)))


@pytest.mark.parametrize("seed", range(30))
def test_the_corner_of_the_preset_is_that_of_the_package(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = np.histogram(random.beta(2, random.integers(2, 12), 500), bins=random.integers(8, 40))[0]
    counts = counts[: random.integers(len(counts) * 3 // 4, len(counts) + 1)]
    if package_corner(counts) > counts.argmax():  # some bin lies below the line
        assert corner(counts, "inside") == package_corner(counts)


def test_both_anchors_differ_where_the_histogram_ends_with_a_score_and_nowhere_else() -> None:
    ends = np.array([60, 30, 14, 9, 7, 6, 5])
    assert corner(ends, "inside") != corner(ends, "beyond") or package_corner(ends) == corner(ends, "beyond")
    moved = [np.sort(np.random.default_rng(seed).integers(1, 80, 12))[::-1] for seed in range(200)]
    assert any(corner(counts, "inside") != corner(counts, "beyond") for counts in moved)
    for counts in moved:
        followed = np.append(counts, 0)
        assert corner(followed, "inside") == corner(followed, "beyond")


def test_the_first_update_of_radon_has_one_threshold_and_the_next_ones_two() -> None:
    strategy = build(THRESHOLDS, "triangular", **held("radon", "stage2.confidence.triangular"))
    assert isinstance(strategy, Triangular)
    random = np.random.default_rng(0)
    scores = np.concatenate([random.beta(2, 20, 3000), random.beta(20, 3, 400)])
    one, two = strategy(scores), strategy(scores, Thresholds(0.5, 0.5))
    histogram = Histogram.fit(np.sort(scores), None)
    middle, bins = (len(histogram.counts) + 1) // 2, len(histogram.counts)
    left, right = package_corner(histogram.counts[:middle]), package_corner(histogram.counts[middle:][::-1])
    assert one.low == one.high
    assert two == Thresholds(float(histogram.edges[left + 1]), float(histogram.edges[bins - 1 - right]))
    said = Binary()(scores, two)
    assert np.array_equal(said, np.select([scores <= two.low, scores > two.high], [1, -1], 0))


def test_the_threshold_of_grand_has_the_ratio_of_equation_17_and_not_its_inverse() -> None:
    settings = held("grand", "stage2.confidence.evt")
    scores = np.random.default_rng(0).exponential(size=4000)
    thresholds = EVT(**settings)(scores)
    u = np.quantile(scores, settings["quantile"])
    assert thresholds.low == u
    # Excesses of an exponential are exponential again: high = u + mean excess * log(N_t / (q n)).
    excess = scores[scores > u] - u
    expected = u + excess.mean() * np.log(excess.size / (settings["q"] * scores.size))
    assert thresholds.high == pytest.approx(expected, rel=0.06)


def test_defaults_in_params_are_those_of_the_plug_ins() -> None:
    params = config.read(ROOT / "params.yaml")
    for name in ("radon", "grand", "maf"):
        mine, theirs = (build(DETECTORS, name, features=6, **given) for given in (params["stage2"][name], {}))
        plain = [{k: v for k, v in vars(m).items() if isinstance(v, bool | int | float | str)} for m in (mine, theirs)]
        assert plain[0] == plain[1]
        assert [p.shape for p in mine.parameters()] == [p.shape for p in theirs.parameters()]
