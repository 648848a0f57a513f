"""What a run leaves: the model file, with where it comes from."""
import json
from dataclasses import asdict
from pathlib import Path
from typing import Optional

import torch

from . import checkpoint, dataset, export, scores as means, training_images
from .files import readable
from .network import E2ENet
from .settings import Settings
from .training import Training, architecture_of


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
    checkpoint.load_network(training, training.network, best["network"], best["masks"])
    held_back = set(best["facts"]["validation_cases"])
    pairs = [(str(image), str(image.with_name(name + "_labels.npy")))
             for image in sorted((folder / "preprocessed").glob("*_image.npy"))
             for name in [image.name[:-len("_image.npy")]] if readable(name) not in held_back]
    return write_model_file(path, training.network, training.masks, plan, description, settings, best["facts"],
                            training_images.describe(pairs, plan, description.labels))
