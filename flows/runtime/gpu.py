"""GPU leases: one job for each physical GPU at a time, whatever worker or flow it belongs to.

A stage that trains and a flow that scores in bulk ask for devices; everything else never sees one. A lease is a slot
of Prefect's global concurrency limit ``gpu-<host>-<number>``, which frees itself where its holder dies. A job gets all
devices that it asks for at once, or none: it never holds some while it waits for others.

Earlier versions called the limits ``gpu-<number>`` on every machine. Where a server still has such a limit, a lease
holds it too, so that no worker of an earlier version takes the same GPU.
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
PAGE = 100  # limits that the server gives at once
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
    """Make the limits of the GPUs that the stages of this machine may use, and name those of an earlier version."""
    devices = usable_devices()
    ensure_limits({device.limit: 1 for device in devices})
    if not devices:
        return
    known = _limits()
    for device in devices:
        if device.former_limit in known:
            print(
                f"the limit {device.former_limit} of an earlier version is held as well, and every machine shares it; "
                f"once all have this version, `prefect gcl delete {device.former_limit}` lets them work side by side"
            )


def wanted(fit: object) -> int:
    """How many devices a stage with these settings of a training asks for."""
    devices = fit.get("devices", 1) if isinstance(fit, Mapping) else 1
    return devices if isinstance(devices, int) else 1


@contextmanager
def lease(devices: Sequence[Device], log: Callable[[str], None], number: int = 1) -> Iterator[dict[str, str]]:
    """Hold some of the devices, waiting for as long as too few are free.

    Args:
        devices: those of this machine; none: the job runs on the CPU, and no lease is taken.
        log: told when it waits and what it got.
        number: how many of them.

    Yields:
        The variables that show the job these devices alone.

    Raises:
        ConfigError: there are fewer, or a device has no concurrency limit.
    """
    if not devices:
        yield dict(CPU_ONLY)
        return
    if number > len(devices):
        raise ConfigError(
            f"fit.devices is {number}, but the stages of this machine may use {len(devices)} of its GPUs; ask for "
            "fewer, or raise workers.gpu_workers"
        )
    taken, held = _acquire(devices, number, log)
    log(f"holds {', '.join(f'{device.limit} ({device.uuid})' for device in taken)}")
    try:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(device.uuid for device in taken)}
    finally:
        with suppress(httpx.HTTPError):  # a server that is gone frees the slots itself, when the lease has run out
            held.__exit__(None, None, None)


def _acquire(devices: Sequence[Device], number: int, log: Callable[[str], None]) -> tuple[Sequence[Device], Any]:
    waiting = False
    while True:
        taken = _free(devices)[:number]
        if len(taken) == number and (held := _held(taken)):
            return taken, held
        if not waiting:
            names = ", ".join(device.limit for device in devices)
            log(f"too few GPUs of this machine are free ({number} of {names}): waiting")
        waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def _held(devices: Sequence[Device]) -> Any:
    """The slots of all these devices; None where one is taken, or the server does not answer.

    The server gives all in one transaction, and passes over a name that it does not know.
    """
    names = [name for device in devices for name in (device.limit, device.former_limit)]
    # A renewal that fails must not end a training of hours: the slot is then no longer ours, the job goes on.
    held = concurrency(names, max_retries=0, strict=True, raise_on_lease_renewal_failure=False)
    try:
        held.__enter__()
    except ConcurrencySlotAcquisitionError:
        return None
    return held


def _free(devices: Sequence[Device]) -> list[Device]:
    """The devices that nobody holds; none while the server does not answer.

    Raises:
        ConfigError: a device has no limit under either name.
    """
    try:
        known = _limits()
    except httpx.HTTPError:
        return []
    found = []
    for device in devices:
        limits = [known[name] for name in (device.limit, device.former_limit) if name in known]
        if not limits:
            raise ConfigError(
                f"the concurrency limit {device.limit!r} does not exist; `python -m flows.worker` makes it, and so "
                f"does `prefect gcl create {device.limit} --limit 1`"
            )
        if all(not each.active or each.active_slots < each.limit for each in limits):
            found.append(device)
    return found


def _limits() -> dict[str, Any]:
    """All limits of the server, by name."""
    found: dict[str, Any] = {}
    with get_client(sync_client=True) as client:
        while page := client.read_global_concurrency_limits(limit=PAGE, offset=len(found)):
            found |= {each.name: each for each in page}
            if len(page) < PAGE:
                break
    return found
