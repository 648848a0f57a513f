"""Dice of a model file over a folder of cases, from NIfTI to labels in the image's own grid."""
import json
import os
import time
from pathlib import Path

import numpy
import torch
from e2enet_model_file import read_model

from . import dataset, inference, preprocess
from .export import network_of


def add_arguments(parser):
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="folder with images and labels")
    parser.add_argument("--no-mirroring", action="store_true", help="one pass instead of all flips of the model's axes")
    parser.add_argument("--step", type=float, default=0.5, help="tile step as a share of the patch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write all scores to this file")


def evaluate_cases(model, cases, mirroring=True, step=0.5, report=lambda text: None):
    """{case: {label value: Dice}} with the model file's preprocessing."""
    network = network_of(model)
    configuration = model.configuration
    preprocessing = {"transpose_forward": [0, 1, 2], "orientation": None,
                     "normalization": [{"scheme": "nonCT"}] * configuration["input_channels"],
                     **configuration.get("preprocessing", {})}
    axes = configuration.get("mirror_axes", [0, 1, 2]) if mirroring else []
    scores = {}
    for case in cases:
        volume = preprocess.read_volume(case.images, preprocessing["orientation"])
        reference = preprocess.read_volume([case.label], preprocessing["orientation"]).data[0].astype(numpy.uint8)
        data, _, geometry = preprocess.preprocess(volume, preprocessing)
        probabilities = inference.predict(lambda x: network(x, heads=1)[0], data, configuration["patch_size"], step,
                                          axes)
        prediction = preprocess.labels_to_volume(probabilities.numpy(), geometry, preprocessing)
        scores[case.name] = {label: inference.dice(prediction, reference, label)
                             for label in range(1, configuration["classes"])}
        report(f"{case.name}  " + "  ".join(f"{score:.4f}" for score in scores[case.name].values()))
    return scores


def summary(scores, labels):
    """Mean and standard deviation over the cases, per label and of the cases' means."""
    table = numpy.array([list(case.values()) for case in scores.values()])
    means = numpy.nanmean(table, axis=1)
    result = {"cases": len(scores), "mean": float(numpy.nanmean(numpy.nanmean(table, axis=0))),
              "sd": float(numpy.nanstd(means, ddof=1)) if len(scores) > 1 else 0.0, "labels": {}}
    for column, value in enumerate(next(iter(scores.values()))):
        result["labels"][str(value)] = {
            "name": labels.get(str(value), f"label {value}"), "mean": float(numpy.nanmean(table[:, column])),
            "sd": float(numpy.nanstd(table[:, column], ddof=1)) if len(scores) > 1 else 0.0}
    return result


def run(options) -> int:
    torch.set_num_threads(options.threads)
    model = read_model(options.model)
    cases = dataset.find_cases(options.data, model.configuration["input_channels"])
    begin = time.monotonic()
    scores = evaluate_cases(model, cases, not options.no_mirroring, options.step, lambda text: print(text, flush=True))
    result = summary(scores, model.configuration.get("labels", {}))
    result["seconds"] = round(time.monotonic() - begin, 1)
    result["mirroring"] = not options.no_mirroring
    for label in result["labels"].values():
        print(f"{label['name']}: Dice {label['mean']:.4f} (sd {label['sd']:.4f})")
    print(f"mean: Dice {result['mean']:.4f} (sd {result['sd']:.4f}) over {result['cases']} cases")
    if options.json:
        options.json.write_text(json.dumps({**result, "by_case": scores}, indent=2) + "\n", encoding="utf-8")
    return 0
