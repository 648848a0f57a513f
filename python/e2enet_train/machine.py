"""What the trainer asks of the machine."""
import ctypes
import ctypes.util
import os
from pathlib import Path
from typing import Optional

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


def reference_blas(maps: str) -> Optional[str]:
    """The library of slow matrix products that a process uses, by its list of mapped files (/proc/self/maps): Debian's
    `libblas3`, the standard's own loops, takes part wherever no faster library is installed."""
    files = {line.split()[-1] for line in maps.splitlines() if ".so" in line}
    if any(fast in Path(file).name for file in files for fast in ("openblas", "mkl", "blis", "atlas", "flexiblas")):
        return None
    return min((file for file in files if Path(file).name.startswith("libblas.so")), default=None)


def remark_on_slow_products(report) -> None:
    try:
        slow = reference_blas(Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return
    if slow:
        report(f"remark: {slow} multiplies PyTorch's matrices, one number at a time: an iteration takes twice as long "
               "as with OpenBLAS (Debian: libopenblas0-openmp)")


def has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
