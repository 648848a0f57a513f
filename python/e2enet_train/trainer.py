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
import itertools
import json
import math
import signal
import time
from pathlib import Path
from typing import List, Optional

import numpy
import torch
from e2enet_model_file import read_model
from torch.utils.data import DataLoader

from . import dataset, inference, mirroring, scores as means, training_images
from .augment import TrainingBatches
from .checkpoint import packed_network
from .files import readable, write_atomically, write_json
from .log import Log, duration
from .network import E2ENet
from .prepared import preprocess_cases
from .results import write_model_file
from .sampling import foreground_voxels
from .settings import Settings
from .training import Training, architecture_of

REPORT_SECONDS = 60.0


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
        self.exchanging_axis = mirroring.exchanging_axis(description.mirrored_labels, settings.mirror_axes,
                                                         plan["preprocessing"])
        cases = dataset.find_cases(data, len(description.channels))
        held_back = self.held_back()
        training, validation = dataset.split_cases(cases, settings.validation_cases, settings.seed, held_back)
        self.training_names = [readable(case.name) for case in training]
        self.validation_names = [readable(case.name) for case in validation]
        if settings.initial_model and validation and set(held_back).isdisjoint(self.validation_names):
            report(f"remark: {settings.initial_model} names none of these cases as held back in its training: if it learned "
                   "from the validation cases, their scores are too good")
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

    def held_back(self) -> List[str]:
        """The cases that the training of the initial model, if there is one, did not learn from. Kept in the run's
        folder, since it is continued where the initial model may not be."""
        path = self.folder / "held_back.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        if not self.settings.initial_model or self.checkpoint.exists():
            return []
        provenance = read_model(self.settings.initial_model).configuration.get("provenance") or {}
        names = (provenance.get("training") or {}).get("validation_cases")
        names = [str(name) for name in names] if isinstance(names, list) else []
        write_json(path, names)
        return names

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
                {"network": packed_network(self.training, self.training.averaged), "masks": self.training.masks,
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
