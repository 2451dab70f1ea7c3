"""What else a GPU was doing, and whether it slowed itself down: read through NVML, where its package is there."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the words of a record are read without torch
    import torch

# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (nvml.h): the hardware's slow-down, the driver's for heat, the
# hardware's for heat, the power brake. The power cap (0x4) is not among them: a busy GPU is at it all the time.
SLOWED = 0x8 | 0x20 | 0x40 | 0x80


@dataclass(frozen=True)
class GpuCounters:
    """One reading."""

    other_processes: int  # that have a context on the device, this one left out
    slowed: bool  # its clocks were lowered, for heat or for want of power
    sm_mhz: float


def read_gpu_counters(device: "torch.device") -> GpuCounters | str:
    """The counters now, or why there are none. Inside a container NVML may hide the processes of others."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return "the package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
        import torch

        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        # Process ids are the host's, which a container cannot compare with its own: exactly one of them is this one.
        others = max(0, len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)) - 1)
        slowed = bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & SLOWED)
        return GpuCounters(others, slowed, float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)))
    except nvml.NVMLError as error:
        return f"NVML: {error}"
