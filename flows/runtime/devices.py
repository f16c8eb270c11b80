"""The GPUs of this machine, as its driver shows them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass


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
        """The name of its concurrency limit."""
        return f"gpu-{self.number}"


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
