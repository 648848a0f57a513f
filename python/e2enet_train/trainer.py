"""The training loop: schedule, sparse updates, checkpoints, log and validation.

A run lives in one folder:

    plan.json          architecture and preprocessing (may be edited before the first iteration)
    settings.json      everything else that decides the result
    preprocessed/      what the network sees of each case
    checkpoint.pt      the last state, replaced as a whole, never half written
    best.pt            weights and masks of the best validation so far
    log.csv            one line per interval

Batches and growth are functions of (seed, iteration), so a checkpoint needs no random state: weights, momentum, masks
and the iteration are all there is, and a killed run continues exactly.
"""
import csv
import ctypes
import ctypes.util
import itertools
import math
import os
import signal
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Dict, List, Optional

import numpy
import torch
from e2enet_model_file import read_model
from torch.utils.data import DataLoader

from . import dataset, dsff, export, inference, loss as losses, scores as means
from .augment import TrainingBatches
from .files import readable, write_atomically
from .network import Architecture, E2ENet, sparse_parameter_names
from .prepared import foreground_voxels, preprocess_cases

LOG_COLUMNS = ["iteration", "seconds", "progress", "learning_rate", "loss", "kernels_moved", "validation_dice"]


@dataclass
class Settings:
    """What decides the result of a run, besides the data and the plan. Exactly one of `iterations` and `hours` is set:
    with `hours` the schedules follow the time spent training, so that they always end where they should."""

    seed: int = 1
    iterations: Optional[int] = None
    hours: Optional[float] = None
    batch: int = 2
    density: float = 0.2
    layer_density: Dict[str, float] = field(default_factory=dict)
    update_interval: int = 1200
    drop_first: float = 0.5
    drop_last: float = 0.001
    learning_rate: float = 0.01
    momentum: float = 0.99
    weight_decay: float = 3e-5
    gradient_limit: float = 12.0
    mirror_axes: List[int] = field(default_factory=lambda: [0, 1, 2])
    validation_cases: int = 20
    precision: str = "float32"
    initial_model: Optional[str] = None

    def __post_init__(self):
        if (self.iterations is None) == (self.hours is None):
            raise ValueError("settings: expected one of iterations and hours, found "
                             + ("neither" if self.iterations is None else "both"))
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, found {self.precision!r}")


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


def layer_densities(network: E2ENet, settings: Settings) -> Dict[str, float]:
    """Density of every sparse weight; `layer_density` names a layer as the model file does (fusion.0.1.0, up.0.1) or a
    family of them (fusion, fusion.0)."""
    densities = {}
    used = set()
    for name in sparse_parameter_names(network):
        densities[name] = settings.density
        for prefix in sorted(settings.layer_density, key=len):
            if name.startswith(prefix + "."):
                densities[name] = settings.layer_density[prefix]
                used.add(prefix)
    unknown = sorted(set(settings.layer_density) - used)
    if unknown:
        raise ValueError(f"layer_density: {unknown[0]}: not a sparse layer of this architecture")
    return densities


class Training:
    """The state of a run and one step of it; knows nothing of files."""

    def __init__(self, architecture: Architecture, settings: Settings, device="cpu"):
        self.settings = settings
        self.device = torch.device(device)
        self.network = E2ENet(architecture)
        self.network.initialise(settings.seed)
        self.network.to(self.device)
        self.network.precision = getattr(torch, settings.precision)
        self.weights = {name: dict(self.network.named_parameters())[name]
                        for name in sparse_parameter_names(self.network)}
        self.masks = dsff.random_masks(self.weights, layer_densities(self.network, settings), settings.seed)
        with torch.no_grad():
            for name, weight in self.weights.items():
                dsff.apply_mask(weight, self.masks[name])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=settings.learning_rate,
                                         momentum=settings.momentum, weight_decay=settings.weight_decay, nesterov=True)
        self.iteration = 0
        self.seconds = 0.0
        self.best_dice = -1.0

    def start_from(self, model) -> None:
        """Weights and masks of a model file of the same architecture instead of random ones."""
        own, given = self.network.architecture, export.network_of(model).architecture
        for key in ("input_channels", "classes", "base_features", "max_features", "pool_strides", "groups"):
            if getattr(own, key) != getattr(given, key):
                raise ValueError(f"initial model: {key}: expected {getattr(own, key)}, found {getattr(given, key)}")
        self.network.load_state_dict(export.network_of(model).state_dict())
        masks = export.masks_of(model)
        for name, mask in self.masks.items():
            mask.copy_(masks[name])

    @property
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        if self.settings.iterations is not None:
            return min(1.0, self.iteration / self.settings.iterations)
        return min(1.0, self.seconds / (self.settings.hours * 3600.0))

    @property
    def finished(self) -> bool:
        return self.progress >= 1.0

    def step(self, image: torch.Tensor, labels: torch.Tensor):
        """One iteration: (loss, kernels moved by the sparse update, learning rate)."""
        settings = self.settings
        rate = settings.learning_rate * (1.0 - self.progress)**0.9
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        outputs = self.network(image.to(self.device))
        loss = losses.deep_supervision_loss(outputs, labels.to(self.device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"iteration {self.iteration}: the loss is {value}")
        loss.backward()
        for name, weight in self.weights.items():
            dsff.apply_mask(weight.grad, self.masks[name])
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_limit)
        self.optimizer.step()
        self.iteration += 1
        moved = 0
        if self.iteration % settings.update_interval == 0 and not self.finished:
            moved = self.update_connectivity()
        return value, moved, rate

    def update_connectivity(self) -> int:
        fraction = dsff.drop_fraction(self.progress, self.settings.drop_first, self.settings.drop_last)
        moved = 0
        for index, (name, weight) in enumerate(self.weights.items()):
            seed = (self.settings.seed * 1000003 + self.iteration) * 1009 + index
            moved += dsff.drop_and_grow(weight, self.masks[name], fraction, seed)
            momentum = self.optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                dsff.apply_mask(momentum, self.masks[name])
        return moved

    def state(self) -> dict:
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "masks": self.masks,
                "iteration": self.iteration, "seconds": self.seconds, "best_dice": self.best_dice}

    def load_state(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, mask in state["masks"].items():
            self.masks[name].copy_(mask)
        self.iteration = state["iteration"]
        self.seconds = state["seconds"]
        self.best_dice = state["best_dice"]


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


def validate(network: E2ENet, pairs, classes: int, device) -> List[Optional[float]]:
    """Mean Dice of each label over the preprocessed cases that have it (None: no case does), without mirroring."""
    network.eval()
    scores = []
    for image_path, label_path in pairs:
        reference = numpy.load(label_path)
        probabilities = inference.predict(lambda x: network(x, heads=1)[0], numpy.load(image_path),
                                          network.architecture.patch_size, device=device)
        prediction = probabilities.argmax(0).numpy()
        scores.append([inference.dice(prediction, reference, label) for label in range(1, classes)])
    network.train()
    return [means.mean(column) for column in zip(*scores)]


def leave_signals_to_the_trainer(_worker: int) -> None:
    """Ctrl-C reaches the workers too; they must live until the trainer has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Run:
    """A training run in its folder."""

    def __init__(self, folder: Path, data: Path, description: dataset.Description, plan: dict, settings: Settings,
                 device="cpu", workers: int = 1, report=print, before_iteration=lambda: None):
        self.folder = Path(folder)
        self.description = description
        self.plan = plan
        self.settings = settings
        self.workers = workers
        self.report = report
        self.before_iteration = before_iteration
        self.stop_requested = False
        cases = dataset.find_cases(data, len(description.channels))
        training, validation = dataset.split_cases(cases, settings.validation_cases, settings.seed)
        self.training_names = [readable(case.name) for case in training]
        self.validation_names = [readable(case.name) for case in validation]
        prepared = self.folder / "preprocessed"
        self.training_pairs = preprocess_cases(training, plan, description.labels, prepared, report)
        self.validation_pairs = preprocess_cases(validation, plan, description.labels, prepared, report)
        architecture = Architecture(**{f.name: plan[f.name] for f in fields(Architecture)})
        self.training = Training(architecture, settings, device)
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, map_location=device)
            if state.get("plan", plan) != plan:
                raise ValueError(f"{self.folder / 'plan.json'}: expected the plan that the run began with, found another; "
                                 "undo the change or use another folder")
            self.training.load_state(state)
            report(f"continuing at iteration {self.training.iteration}, "
                   f"{self.training.seconds / 3600:.2f} hours trained")
        elif settings.initial_model:
            self.training.start_from(read_model(settings.initial_model))
            report(f"starting from {settings.initial_model}")
        self.log = Log(self.folder / "log.csv", self.training.iteration)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        write_atomically(self.checkpoint, lambda file: torch.save({**self.training.state(), "plan": self.plan}, file))

    def request_stop(self, *_):
        self.stop_requested = True

    def batches(self):
        source = TrainingBatches(self.training_pairs, foreground_voxels(self.training_pairs), self.description.classes,
                                 self.plan["patch_size"], self.settings.batch, self.settings.seed,
                                 self.settings.mirror_axes)
        first = self.training.iteration
        if self.workers == 0:
            return (source[iteration] for iteration in itertools.count(first))
        loader = DataLoader(source, batch_size=None, sampler=itertools.count(first), num_workers=self.workers,
                            prefetch_factor=4, worker_init_fn=leave_signals_to_the_trainer)
        return iter(loader)

    def validate(self) -> List[Optional[float]]:
        scores = validate(self.training.network, self.validation_pairs, self.description.classes, self.training.device)
        mean = means.mean(scores)
        if mean is not None and mean > self.training.best_dice:
            self.training.best_dice = mean
            write_atomically(self.folder / "best.pt", lambda file: torch.save(
                {"network": self.training.network.state_dict(), "masks": self.training.masks,
                 "iteration": self.training.iteration, "dice": mean}, file))
        return scores

    def run(self, log_every: int = 50, validate_every: int = 500, checkpoint_minutes: float = 2.0) -> bool:
        """Trains to the end, or until SIGINT or SIGTERM; True if the end was reached."""
        training = self.training
        previous = {s: signal.signal(s, self.request_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        loss_sum, loss_count, moved_sum = 0.0, 0, 0
        clock = last_save = time.monotonic()
        try:
            batches = None if training.finished else self.batches()
            while not training.finished and not self.stop_requested:
                self.before_iteration()
                value, moved, rate = training.step(*next(batches))
                loss_sum, loss_count, moved_sum = loss_sum + value, loss_count + 1, moved_sum + moved
                validating = bool(self.validation_pairs) and training.iteration % validate_every == 0
                scores = self.validate() if validating else None
                now = time.monotonic()
                training.seconds += now - clock
                clock = now
                if training.iteration % log_every == 0 or validating:
                    mean_loss = loss_sum / loss_count
                    dice_text = "" if scores is None else means.text(means.mean(scores))
                    self.log.add(iteration=training.iteration, seconds=f"{training.seconds:.1f}",
                                 progress=f"{training.progress:.5f}", learning_rate=f"{rate:.6g}",
                                 loss=f"{mean_loss:.5f}", kernels_moved=moved_sum, validation_dice=dice_text)
                    if scores is not None:
                        self.report(f"iteration {training.iteration}  {100 * training.progress:.1f}%  "
                                    f"{training.seconds / 60:.1f} min  loss {mean_loss:.4f}  validation Dice "
                                    f"{dice_text} (" + ", ".join(means.text(score, 3) for score in scores) + ")")
                    loss_sum, loss_count, moved_sum = 0.0, 0, 0
                if now - last_save >= 60 * checkpoint_minutes:
                    self.save()
                    last_save = time.monotonic()
            self.save()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if not training.finished:
            self.report(f"stopped at iteration {training.iteration}; the same command continues")
        return training.finished

    def write_model(self, path: Path) -> dict:
        """Validates once more, with float32 and with mirroring, and writes the model file. Returns its scores."""
        training = self.training
        training.network.precision = torch.float32
        scores = validate(training.network, self.validation_pairs, self.description.classes, training.device) \
            if self.validation_pairs else []
        training.network.precision = getattr(torch, self.settings.precision)
        names = [self.description.labels[label] for label in range(1, self.description.classes)]
        measured = {}
        if scores:
            measured["validation_dice"] = {"mean": means.mean(scores), **dict(zip(names, scores))}
        total = sum(mask.numel() for mask in training.masks.values())
        kept = sum(int(mask.sum()) for mask in training.masks.values())
        initial = self.settings.initial_model
        provenance = {"data": self.description.provenance,
                      "training": {**asdict(self.settings), "initial_model": Path(initial).name if initial else None,
                                   "recipe": "e2enet_train", "torch": torch.__version__,
                                   "iterations_done": training.iteration, "progress": training.progress,
                                   "hours_trained": round(training.seconds / 3600, 3),
                                   "training_cases": len(self.training_names),
                                   "validation_cases": self.validation_names,
                                   "sparse_density": kept / total},
                      "scores": measured}
        export.write(path, export.model_of(training.network, training.masks, self.plan, self.description.labels,
                                           self.settings.mirror_axes, provenance))
        return measured
