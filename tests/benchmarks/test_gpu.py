"""The measurement on a GPU: what it measures, and what it says where there is none."""

import sys

import pytest
import torch

from benchmarks import gpu
from pipeline import config
from tests.settings import ROOT

SUBJECTS = ["cnn_transformer", "maf", "radon", "grand"]


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(gpu, "training_speed", lambda subject, device, _: 3000.0 if device == "cuda" else 1000.0)
    monkeypatch.setattr(gpu, "scoring_speed", lambda subject, device, _: 5000.0 if device == "cuda" else 2000.0)
    monkeypatch.setattr(sys, "argv", ["gpu", "--params", str(ROOT / config.PARAMS)])


def test_without_a_gpu_it_says_so_and_measures_the_cpu(measured, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    said = capsys.readouterr().out
    assert said.startswith("no GPU: PyTorch finds none here, so the CPU alone is measured\ncpu: ")
    assert [f"| {name} | training | 1,000 |  |" in said for name in SUBJECTS] == [True] * 4
    assert [f"| {name} | scoring | 2,000 |  |" in said for name in SUBJECTS] == [True] * 4


def test_with_a_gpu_both_stand_side_by_side(measured, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Pretend 1")
    gpu.main()
    said = capsys.readouterr().out
    assert "cuda: Pretend 1" in said
    assert "| maf | training | 3,000 | 1,000 | 3.0 |" in said
    assert "| grand | scoring | 5,000 | 2,000 | 2.5 |" in said


def test_a_model_is_measured_as_a_stage_calls_it():
    (radon,) = [each for each in gpu.subjects(ROOT / config.PARAMS) if each.name == "radon"]
    assert gpu.training_speed(radon, "cpu", 0.0) > 0
    assert gpu.scoring_speed(radon, "cpu", 0.0) > 0
