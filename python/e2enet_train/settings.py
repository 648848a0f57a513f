"""What decides the result of a run, besides the data and the plan."""
from dataclasses import dataclass, field
from typing import Dict, List, Optional

# What suits which optimiser. SGD's are the paper's, for 250 000 iterations. AdamW's are for the thousands of iterations
# that a CPU has the time for: they learn in a tenth of the iterations, drop less at a time, so that what was grown can
# grow useful, and average the weights, so that a run is good long before the learning rate has fallen.
OPTIMIZER_DEFAULTS = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.99, "weight_decay": 3e-5, "update_interval": 1200, "drop_first": 0.5,
            "average": 0.0},
    "adamw": {"learning_rate": 0.003, "momentum": 0.9, "weight_decay": 1e-4, "update_interval": 200, "drop_first": 0.3,
              "average": 0.99}}
DEFAULT_DENSITY = 0.2
# From so many iterations on the paper's optimiser is the default.
ITERATIONS_FOR_SGD = 100000


@dataclass
class Settings:
    """What decides the result of a run, besides the data and the plan. Exactly one of `iterations` and `hours` is set:
    with `hours` the schedules follow the time spent training, so that they always end where they should. What is None
    in `OPTIMIZER_DEFAULTS`' keys takes the value that suits the optimiser. A density of None is that of the initial
    model, layer by layer, and DEFAULT_DENSITY without one."""

    seed: int = 1
    iterations: Optional[int] = None
    hours: Optional[float] = None
    batch: int = 2
    density: Optional[float] = None
    layer_density: Dict[str, float] = field(default_factory=dict)
    optimizer: Optional[str] = None
    update_interval: Optional[int] = None
    drop_first: Optional[float] = None
    drop_last: float = 0.001
    learning_rate: Optional[float] = None
    momentum: Optional[float] = None
    weight_decay: Optional[float] = None
    average: Optional[float] = None
    gradient_limit: float = 12.0
    mirror_axes: List[int] = field(default_factory=lambda: [0, 1, 2])
    augmentation: str = "standard"
    validation_cases: int = 20
    precision: str = "float32"
    initial_model: Optional[str] = None

    def __post_init__(self):
        if (self.iterations is None) == (self.hours is None):
            raise ValueError("settings: expected one of iterations and hours, found "
                             + ("neither" if self.iterations is None else "both"))
        if self.optimizer is None:
            self.optimizer = "sgd" if (self.iterations or 0) >= ITERATIONS_FOR_SGD else "adamw"
        if self.density is None and self.initial_model is None:
            self.density = DEFAULT_DENSITY
        if self.optimizer not in OPTIMIZER_DEFAULTS:
            raise ValueError(f"optimizer: expected adamw or sgd, found {self.optimizer!r}")
        for key, value in OPTIMIZER_DEFAULTS[self.optimizer].items():
            if getattr(self, key) is None:
                setattr(self, key, value)
        if not 0.0 <= self.average < 1.0:
            raise ValueError(f"average: expected 0 or more and below 1, found {self.average}")
        if self.augmentation not in ("standard", "wide"):
            raise ValueError(f"augmentation: expected standard or wide, found {self.augmentation!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, found {self.precision!r}")
