"""The processes of one training, called ranks: which of them this one is, and whether there is a device for each.

``torchrun`` numbers them from 0 in the variable RANK, and so does ``pipeline.models.training.launcher``.
"""

import os
import sys

import torch

from pipeline.base.errors import ConfigError, TrainingError
from pipeline.models.training.bulk import device_of
from pipeline.settings.training import FitSettings

FEWEST_ON_CPU = 2  # processes that any machine may run, so that it can try what several devices do


def rank() -> int | None:
    """The number of this process among those of its training; None where it was not started as one of several."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def refuse_impossible(settings: FitSettings) -> None:
    """Compare the settings with the devices of this machine, and with the processes that were started.

    Raises:
        TrainingError: the machine has fewer devices.
        ConfigError: ``torchrun`` started another number of processes than the settings ask for.
    """
    wanted, device = settings.devices, device_of(settings.device).type
    if device == "cuda" and wanted > torch.cuda.device_count():
        raise TrainingError(
            f"fit.devices is {wanted}, but the GPUs that this process sees are {torch.cuda.device_count()}; ask for "
            "fewer, or set fit.device to 'cpu'"
        )
    if device == "cpu" and wanted > max(os.cpu_count() or 1, FEWEST_ON_CPU):
        raise TrainingError(f"fit.devices is {wanted}, but this machine has {os.cpu_count()} processors; ask for fewer")
    if rank() is not None and int(os.environ["WORLD_SIZE"]) != settings.processes:
        started, right = os.environ["WORLD_SIZE"], f"--nnodes {settings.nodes} --nproc-per-node {wanted}"
        raise ConfigError(
            f"fit.nodes is {settings.nodes} and fit.devices {wanted}, which makes {settings.processes} processes, but "
            f"{started} were started; start them by `torchrun {right}`"
        )


def end_others() -> None:
    """End this process where it is not the first of its training: the first one alone goes on."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if rank():
        sys.exit(0)
