"""GPU leases: one job for each physical GPU at a time, whatever worker or flow it belongs to.

A stage that trains and a flow that scores in bulk ask for a device; everything else never sees one. A lease is a slot
of Prefect's global concurrency limit ``gpu-<number>``, which frees itself where its holder dies. Several machines that
share a Prefect server share these limits as well: the first GPU of one then waits for the first GPU of another.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency import _leases
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from flows.runtime.devices import Device, find_devices
from pipeline import config
from pipeline.base.errors import ConfigError
from pipeline.settings.workers import Workers

CPU_ONLY: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": ""}
GPU_WORKERS_VARIABLE = "FLOWSCULPT_GPU_WORKERS"
SECONDS_BETWEEN_TRIES = 2.0
RENEWALS = 30  # tries, up to ten seconds apart


def outlast_outages() -> None:
    """Let this process renew the lease of its deployment for minutes, where Prefect gives up after seconds.

    Prefect ends a run whose lease it could not renew three times, however far its training is, and knows no setting for
    that.
    """
    _leases._RENEWAL_MAX_ATTEMPTS = RENEWALS


def gpu_workers() -> int | None:
    """``workers.gpu_workers`` of the settings, or of the worker's command line; None: one for each GPU of the machine.

    Raises:
        ConfigError: it is neither ``auto`` nor a number.
    """
    told = os.environ.get(GPU_WORKERS_VARIABLE)
    if told is None:
        setting = config.load(Workers).gpu_workers
        return None if setting == "auto" else setting
    if told != "auto" and not told.isdecimal():
        raise ConfigError(f"{GPU_WORKERS_VARIABLE}: a number or auto is expected, given {told!r}")
    return None if told == "auto" else int(told)


def usable_devices() -> tuple[Device, ...]:
    """The GPUs that the stages of this machine may use.

    Raises:
        ConfigError: the settings ask for more than there are.
    """
    wanted, found = gpu_workers(), find_devices()
    if wanted is not None and wanted > len(found):
        raise ConfigError(
            f"{config.PARAMS}: workers.gpu_workers: {wanted} GPUs are asked for, this machine has {len(found)}; "
            "give a smaller number, auto, or 0 for a machine without a GPU"
        )
    return found[:wanted]


def ensure_limits(limits: Mapping[str, int]) -> None:
    """Make the global concurrency limits that are absent; two processes may do so at once.

    Args:
        limits: how many slots each has; one that exists is left as it is.
    """
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectAlreadyExists

    if not limits:
        return
    with get_client(sync_client=True) as client:
        for name, slots in limits.items():
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))


def ensure_devices() -> None:
    """Make the limits of the GPUs that the stages of this machine may use."""
    ensure_limits({device.limit: 1 for device in usable_devices()})


@contextmanager
def lease(devices: Sequence[Device], log: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """Hold one of the devices, waiting for as long as all are taken.

    Args:
        devices: those of this machine; none: the job runs on the CPU, and no lease is taken.
        log: told when it waits and what it got.

    Yields:
        The variables that show the job this device alone.

    Raises:
        ConfigError: a device has no concurrency limit.
    """
    if not devices:
        yield dict(CPU_ONLY)
        return
    device, held = _acquire(devices, log)
    log(f"holds {device.limit} ({device.uuid})")
    try:
        yield {"CUDA_VISIBLE_DEVICES": device.uuid}
    finally:
        with suppress(httpx.HTTPError):  # a server that is gone frees the slot itself, when the lease has run out
            held.__exit__(None, None, None)


def _acquire(devices: Sequence[Device], log: Callable[[str], None]) -> tuple[Device, Any]:
    waiting = False
    while True:
        for device in devices:
            # A renewal that fails must not end a training of hours: the slot is then no longer ours, the job goes on.
            held = concurrency(device.limit, max_retries=0, strict=True, raise_on_lease_renewal_failure=False)
            try:
                held.__enter__()
            except ConcurrencySlotAcquisitionError as error:
                _refuse_missing(device, error)
                continue
            return device, held
        if not waiting:
            log(f"every GPU of this machine is taken ({', '.join(each.limit for each in devices)}): waiting for one")
        waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def _refuse_missing(device: Device, error: ConcurrencySlotAcquisitionError) -> None:
    """Let pass what heals: the slot is taken, or the server does not answer."""
    if error.__cause__ is None:
        raise ConfigError(
            f"the concurrency limit {device.limit!r} does not exist; `python -m flows.worker` makes it, and so does "
            f"`prefect gcl create {device.limit} --limit 1`"
        ) from error
