"""How many threads an iteration uses on a machine that other programs use too.

Every operation of PyTorch waits for its slowest thread. Where another program holds a core, two threads are not half
as useful but several times slower than one, because each of a thousand operations waits for the thread without a core.
So the number follows what others leave free, measured every second or two.
"""
import os
import time
from pathlib import Path
from typing import Optional

import torch

STAT = Path("/proc/stat")
# Others may take this share of a core before a thread is given up: the processes that prepare batches are among them.
SPARE = 0.4
INTERVAL_SECONDS = 2.0


def busy_seconds(text: str, ticks_per_second: float) -> float:
    """Processor time spent by everyone since the machine started, from the first line of /proc/stat: user, nice,
    system, interrupts; not idle, not waiting for a disk."""
    values = [int(value) for value in text.splitlines()[0].split()[1:8]]
    user, nice, system, _, _, interrupt, soft_interrupt = values
    return (user + nice + system + interrupt + soft_interrupt) / ticks_per_second


def threads_for(others: float, most: int) -> int:
    """`others`: cores that other processes keep busy."""
    return max(1, min(most, int(most - others + SPARE)))


class FreeCores:
    """Sets PyTorch's threads to what is free; call follow() once an iteration. A fixed number if `threads` is given, or
    where /proc/stat does not exist."""

    def __init__(self, threads: Optional[int] = None):
        self.most = threads or os.cpu_count() or 1
        self.adaptive = threads is None and STAT.exists()
        self.current = self.most
        torch.set_num_threads(self.current)
        self.last = self.measure() if self.adaptive else None

    def measure(self):
        busy = busy_seconds(STAT.read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))
        return time.monotonic(), busy, time.process_time()

    def follow(self) -> None:
        if not self.adaptive or time.monotonic() - self.last[0] < INTERVAL_SECONDS:
            return
        now = self.measure()
        elapsed, busy, own = (b - a for a, b in zip(self.last, now))
        self.last = now
        wanted = threads_for(max(0.0, busy - own) / elapsed, self.most)
        if wanted != self.current:
            torch.set_num_threads(wanted)
            self.current = wanted
