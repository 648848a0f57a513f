"""Means over the scores that exist: a label that is nowhere in a case has none there (None or NaN)."""
import math
from typing import Iterable, List, Optional


def existing(values: Iterable[Optional[float]]) -> List[float]:
    return [float(value) for value in values if value is not None and not math.isnan(value)]


def mean(values: Iterable[Optional[float]]) -> Optional[float]:
    """None where there is no score at all."""
    values = existing(values)
    return math.fsum(values) / len(values) if values else None


def deviation(values: Iterable[Optional[float]]) -> Optional[float]:
    """The sample's standard deviation; 0 for one score, None for none."""
    values = existing(values)
    if len(values) < 2:
        return 0.0 if values else None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre)**2 for value in values) / (len(values) - 1))


def text(value: Optional[float], digits: int = 4) -> str:
    return "absent" if value is None or math.isnan(value) else f"{value:.{digits}f}"
