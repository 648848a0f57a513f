"""What a run tells: log.csv, and durations in words."""
import csv
import math
import os
from pathlib import Path

LOG_COLUMNS = ["iteration", "seconds", "progress", "learning_rate", "loss", "kernels_moved", "validation_dice"]


class Log:
    """log.csv; on resuming, lines after the checkpoint are taken away, since those iterations run again."""

    def __init__(self, path: Path, iteration: int):
        self.path = path
        rows = []
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                # A line cut short by a kill has no whole last column or no number in the first.
                rows = [row for row in csv.DictReader(file)
                        if row["iteration"].isdigit() and int(row["iteration"]) <= iteration
                        and row[LOG_COLUMNS[-1]] is not None]
        with open(path.with_name(path.name + ".partial"), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(path.with_name(path.name + ".partial"), path)

    def add(self, **values) -> None:
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, LOG_COLUMNS).writerow(values)


def duration(seconds: float) -> str:
    """1 h 05 min, or 3 min."""
    if not math.isfinite(seconds):
        return "?"
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
