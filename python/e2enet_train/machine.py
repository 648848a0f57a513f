"""What the trainer asks of the machine."""
import ctypes
import ctypes.util
import os
from pathlib import Path

import torch


def keep_freed_memory() -> None:
    """Asks glibc to keep large blocks instead of handing them back to the kernel: an iteration frees and takes the same
    blocks again, and the page faults would cost as much as the arithmetic. Elsewhere than on glibc nothing happens."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "mallopt"):
        return
    trim_threshold, mmap_max = -1, -4
    library.mallopt(mmap_max, 0)
    library.mallopt(trim_threshold, 2**31 - 1)


def has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
