"""The training loop: schedule, sparse updates, checkpoints, log and validation.

A run lives in one folder:

    plan.json          architecture and preprocessing (may be edited before the first iteration)
    settings.json      everything else that decides the result
    preprocessed/      what the network sees of each case
    checkpoint.pt      the last state, replaced as a whole, never half written
    best.pt            weights, masks and scores of the best validation so far
    log.csv            one line per interval

Batches and growth are functions of (seed, iteration), so a checkpoint needs no random state: weights, their running
average, the optimiser's moments, masks and the iteration are all there is, and a killed run continues exactly.
"""
import csv
import ctypes
import ctypes.util
import itertools
import json
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

from . import dataset, dsff, export, inference, loss as losses, mirroring, scores as means, training_images
from .augment import TrainingBatches
from .files import readable, write_atomically
from .network import Architecture, E2ENet, sparse_parameter_names
from .prepared import preprocess_cases
from .sampling import foreground_voxels

CHECKPOINT_FORMAT = 2
REPORT_SECONDS = 60.0
LOG_COLUMNS = ["iteration", "seconds", "progress", "learning_rate", "loss", "kernels_moved", "validation_dice"]


# What suits which optimiser. SGD's are the paper's, for 250 000 iterations. AdamW's are for the thousands of iterations
# that a CPU has the time for: they learn in a tenth of the iterations, drop less at a time, so that what was grown can
# grow useful, and average the weights, so that a run is good long before the learning rate has fallen.
OPTIMIZER_DEFAULTS = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.99, "weight_decay": 3e-5, "update_interval": 1200, "drop_first": 0.5,
            "average": 0.0},
    "adamw": {"learning_rate": 0.003, "momentum": 0.9, "weight_decay": 1e-4, "update_interval": 200, "drop_first": 0.3,
              "average": 0.99}}
SQUARES_DECAY = 0.99  # of AdamW's second moment
# From so many iterations on the paper's optimiser is the default.
ITERATIONS_FOR_SGD = 100000


@dataclass
class Settings:
    """What decides the result of a run, besides the data and the plan. Exactly one of `iterations` and `hours` is set:
    with `hours` the schedules follow the time spent training, so that they always end where they should. What is None
    in `OPTIMIZER_DEFAULTS`' keys takes the value that suits the optimiser."""

    seed: int = 1
    iterations: Optional[int] = None
    hours: Optional[float] = None
    batch: int = 2
    density: float = 0.2
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


def architecture_of(plan: dict) -> Architecture:
    return Architecture(**{f.name: plan[f.name] for f in fields(Architecture)})


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
        self.optimizer = self.make_optimizer()
        # The network that is validated and exported: the running average of the one that is trained, or that itself.
        self.averaged = self.network
        if settings.average:
            self.averaged = E2ENet(architecture).to(self.device)
            self.averaged.load_state_dict(self.network.state_dict())
            self.averaged.precision = self.network.precision
        self.iteration = 0
        self.seconds = 0.0
        self.best_dice = -1.0

    def make_optimizer(self):
        settings = self.settings
        if settings.optimizer == "sgd":
            return torch.optim.SGD(self.network.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
                                   weight_decay=settings.weight_decay, nesterov=True)
        return torch.optim.AdamW(self.network.parameters(), lr=settings.learning_rate,
                                 betas=(settings.momentum, SQUARES_DECAY), weight_decay=settings.weight_decay)

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
        self.averaged.load_state_dict(self.network.state_dict())

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
        """One iteration: (loss, kernels moved by the sparse update before it, learning rate)."""
        settings = self.settings
        # Before the iteration and not after it: what is validated has had the whole interval to grow.
        moved = 0
        if self.iteration > 0 and self.iteration % settings.update_interval == 0:
            moved = self.update_connectivity()
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
        self.apply_masks()
        self.iteration += 1
        self.update_average()
        return value, moved, rate

    def moments(self, parameter) -> Dict[str, torch.Tensor]:
        """What the optimiser remembers of every value of a parameter."""
        return {key: value for key, value in self.optimizer.state[parameter].items()
                if torch.is_tensor(value) and value.shape == parameter.shape}

    def apply_masks(self) -> None:
        """Absent kernels are zero, and so is all that the optimiser remembers of them: whatever rule it follows, it
        cannot move them."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                for values in (weight, *self.moments(weight).values()):
                    dsff.apply_mask(values, self.masks[name])

    @torch.no_grad()
    def update_average(self) -> None:
        if self.averaged is self.network:
            return
        # At first the average of all so far, not of the random beginning.
        decay = min(self.settings.average, self.iteration / (self.iteration + 9.0))
        for average, parameter in zip(self.averaged.parameters(), self.network.parameters()):
            average.lerp_(parameter, 1.0 - decay)

    def check_masks(self) -> None:
        """Refuses a value outside a mask in what is validated or exported."""
        for network in (self.network, self.averaged):
            dsff.check_masks(dict(network.named_parameters()), self.masks)

    def update_connectivity(self) -> int:
        fraction = dsff.drop_fraction(self.progress, self.settings.drop_first, self.settings.drop_last)
        moved = 0
        for index, (name, weight) in enumerate(self.weights.items()):
            seed = (self.settings.seed * 1000003 + self.iteration) * 1009 + index
            moved += dsff.drop_and_grow(weight, self.masks[name], fraction, seed)
            if self.averaged is not self.network:
                with torch.no_grad():
                    dsff.apply_mask(self.averaged.get_parameter(name), self.masks[name])
        self.apply_masks()
        return moved

    def packed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A parameter, or what belongs to each of its values, without the absent kernels."""
        return values[self.masks[name]] if name in self.masks else values

    def unpack(self, name: str, packed: torch.Tensor, target: torch.Tensor) -> None:
        with torch.no_grad():
            if name in self.masks:
                target.zero_()
                target[self.masks[name]] = packed.to(target)
            else:
                target.copy_(packed)

    def packed_network(self, network: E2ENet) -> Dict[str, torch.Tensor]:
        return {name: self.packed(name, parameter.detach()) for name, parameter in network.named_parameters()}

    def load_network(self, network: E2ENet, packed: Dict[str, torch.Tensor], masks: Dict[str, torch.Tensor]) -> None:
        for name, mask in masks.items():
            self.masks[name].copy_(mask)
        for name, parameter in network.named_parameters():
            self.unpack(name, packed[name], parameter)

    def state(self) -> dict:
        self.check_masks()
        optimizer = {}
        for name, parameter in self.network.named_parameters():
            entries = self.optimizer.state.get(parameter, {})
            moments = self.moments(parameter)
            optimizer[name] = {key: self.packed(name, value) if key in moments else value
                               for key, value in entries.items()}
        state = {"format": CHECKPOINT_FORMAT, "network": self.packed_network(self.network), "optimizer": optimizer,
                 "masks": self.masks, "iteration": self.iteration, "seconds": self.seconds,
                 "best_dice": self.best_dice}
        if self.averaged is not self.network:
            state["average"] = self.packed_network(self.averaged)
        return state

    def load_state(self, state: dict) -> None:
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ValueError(f"checkpoint: format: expected {CHECKPOINT_FORMAT}, found {state.get('format')}")
        self.load_network(self.network, state["network"], state["masks"])
        for name, parameter in self.network.named_parameters():
            entries = {}
            for key, value in state["optimizer"][name].items():
                if torch.is_tensor(value) and value.shape == self.packed(name, parameter).shape:
                    entries[key] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    self.unpack(name, value, entries[key])
                else:
                    entries[key] = value
            if entries:
                self.optimizer.state[parameter] = entries
        if self.averaged is not self.network:
            self.load_network(self.averaged, state["average"], state["masks"])
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


def duration(seconds: float) -> str:
    """1 h 05 min, or 3 min."""
    if not math.isfinite(seconds):
        return "?"
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


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
        self.exchanging_axis = mirroring.exchanging_axis(description.mirrored_labels, settings.mirror_axes,
                                                         plan["preprocessing"])
        cases = dataset.find_cases(data, len(description.channels))
        training, validation = dataset.split_cases(cases, settings.validation_cases, settings.seed)
        self.training_names = [readable(case.name) for case in training]
        self.validation_names = [readable(case.name) for case in validation]
        prepared = self.folder / "preprocessed"
        self.training_pairs = preprocess_cases(training, plan, description.labels, prepared, report)
        self.validation_pairs = preprocess_cases(validation, plan, description.labels, prepared, report)
        self.training = Training(architecture_of(plan), settings, device)
        if self.checkpoint.exists():
            # Onto the processor, wherever it was written: an optimiser's count of steps belongs there, and the rest is
            # copied to where the network is.
            state = torch.load(self.checkpoint, map_location="cpu")
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
                                 self.settings.mirror_axes, self.exchanging_axis, self.description.mirrored_labels,
                                 self.settings.augmentation)
        first = self.training.iteration
        if self.workers == 0:
            return (source[iteration] for iteration in itertools.count(first))
        loader = DataLoader(source, batch_size=None, sampler=itertools.count(first), num_workers=self.workers,
                            prefetch_factor=4, worker_init_fn=leave_signals_to_the_trainer)
        return iter(loader)

    def validate(self) -> List[Optional[float]]:
        self.training.check_masks()
        scores = validate(self.training.averaged, self.validation_pairs, self.description.classes, self.training.device)
        mean = means.mean(scores)
        if mean is not None and mean > self.training.best_dice:
            self.training.best_dice = mean
            write_atomically(self.folder / "best.pt", lambda file: torch.save(
                {"network": self.training.packed_network(self.training.averaged), "masks": self.training.masks,
                 "facts": self.facts(scores)}, file))
        return scores

    def progress_text(self, loss: float) -> str:
        """Where the run is; the time left goes by the speed since this process began."""
        training = self.training
        seconds, progress = training.seconds - self.begin[0], training.progress - self.begin[1]
        left = (1.0 - training.progress) * seconds / progress if progress > 0 else math.nan
        return (f"iteration {training.iteration}  {100 * training.progress:.1f}%  {duration(training.seconds)} trained, "
                f"about {duration(left)} left  loss {loss:.4f}")

    def run(self, log_every: int = 50, validate_every: int = 500, checkpoint_minutes: float = 2.0) -> bool:
        """Trains to the end, or until SIGINT or SIGTERM; True if the end was reached."""
        training = self.training
        previous = {s: signal.signal(s, self.request_stop) for s in (signal.SIGINT, signal.SIGTERM)}
        loss_sum, loss_count, moved_sum = 0.0, 0, 0
        clock = last_save = last_report = time.monotonic()
        self.begin = (training.seconds, training.progress)
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
                        self.report(f"{self.progress_text(mean_loss)}  validation Dice {dice_text} ("
                                    + ", ".join(means.text(score, 3) for score in scores) + ")")
                    elif now - last_report >= REPORT_SECONDS:
                        self.report(self.progress_text(mean_loss))
                    if scores is not None or now - last_report >= REPORT_SECONDS:
                        last_report = now
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
        """Validates once more, with float32, and writes the model file. Returns its scores."""
        training = self.training
        training.check_masks()
        training.averaged.precision = torch.float32
        scores = validate(training.averaged, self.validation_pairs, self.description.classes, training.device) \
            if self.validation_pairs else []
        training.averaged.precision = getattr(torch, self.settings.precision)
        return write_model_file(path, training.averaged, training.masks, self.plan, self.description, self.settings,
                                self.facts(scores),
                                training_images.describe(self.training_pairs, self.plan, self.description.labels))

    def facts(self, scores: List[Optional[float]]) -> dict:
        """What is to be said of the weights as they are now."""
        training = self.training
        return {"iteration": training.iteration, "seconds": training.seconds, "progress": training.progress,
                "scores": scores, "training_cases": len(self.training_names),
                "validation_cases": self.validation_names}


def write_model_file(path: Path, network: E2ENet, masks, plan: dict, description: dataset.Description,
                     settings: Settings, facts: dict, images: Optional[dict] = None) -> dict:
    """The model file with where it comes from. Returns its scores."""
    names = [description.labels[label] for label in range(1, description.classes)]
    scores = {}
    if facts["scores"]:
        scores["validation_dice"] = {"mean": means.mean(facts["scores"]), **dict(zip(names, facts["scores"]))}
    total = sum(mask.numel() for mask in masks.values())
    kept = sum(int(mask.sum()) for mask in masks.values())
    initial = settings.initial_model
    provenance = {"data": description.provenance,
                  "training": {**asdict(settings), "initial_model": Path(initial).name if initial else None,
                               "recipe": "e2enet_train", "torch": torch.__version__,
                               "iterations_done": facts["iteration"], "progress": facts["progress"],
                               "hours_trained": round(facts["seconds"] / 3600, 3),
                               "training_cases": facts["training_cases"],
                               "validation_cases": facts["validation_cases"], "sparse_density": kept / total},
                  "scores": scores}
    export.write(path, export.model_of(network, masks, plan, description.labels, settings.mirror_axes, provenance,
                                       description.mirrored_labels, images))
    return scores


def export_best(folder: Path, path: Path, description: dataset.Description) -> dict:
    """The model file of a run's best validation so far, while the run goes on or after it. The scores are those that
    it had then, with the precision of the run."""
    folder = Path(folder)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    settings = Settings(**json.loads((folder / "settings.json").read_text(encoding="utf-8")))
    training = Training(architecture_of(plan), settings)
    best = torch.load(folder / "best.pt", map_location="cpu")
    training.load_network(training.network, best["network"], best["masks"])
    held_back = set(best["facts"]["validation_cases"])
    pairs = [(str(image), str(image.with_name(name + "_labels.npy")))
             for image in sorted((folder / "preprocessed").glob("*_image.npy"))
             for name in [image.name[:-len("_image.npy")]] if readable(name) not in held_back]
    return write_model_file(path, training.network, training.masks, plan, description, settings, best["facts"],
                            training_images.describe(pairs, plan, description.labels))
