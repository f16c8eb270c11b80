"""The GPUs of this machine, as its driver shows them."""

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HOST_VARIABLE: Final = "FLOWSCULPT_HOST"  # a name for this machine, where it has none of its own, as in a container


@dataclass(frozen=True)
class Device:
    """A physical GPU.

    Attributes:
        number: its place in NVML's list of this machine.
        uuid: what CUDA calls it, whatever order it lists devices in.
    """

    number: int
    uuid: str

    @property
    def limit(self) -> str:
        """The name of its concurrency limit, which no GPU of another machine has."""
        return f"gpu-{host()}-{self.number}"

    @property
    def former_limit(self) -> str:
        """The name that earlier versions gave the limit, on every machine alike."""
        return f"gpu-{self.number}"


def host() -> str:
    """The name of this machine, in letters that the name of a limit may have."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", os.environ.get(HOST_VARIABLE) or socket.gethostname())


def find_devices() -> tuple[Device, ...]:
    """The GPUs that NVML finds on this machine and ``CUDA_VISIBLE_DEVICES`` does not hide."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        found = [Device(number, str(pynvml.nvmlDeviceGetUUID(handle))) for number, handle in enumerate(handles)]
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(found)
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return tuple(device for device in found if str(device.number) in names or device.uuid.startswith(_uuids(names)))


def _uuids(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name.startswith("GPU-"))
