"""Dice of a model file over a folder of cases, from NIfTI to labels in the image's own grid."""
import os
import time
from pathlib import Path

import torch
from e2enet_model_file import read_model

from . import dataset, inference, preprocess, scores as means
from .export import network_of
from .files import readable, write_json
from .mirroring import exchange_of
from .volumes import Remarks, read_case, require_plausible_spacings


def add_arguments(parser):
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, help="folder with images and labels")
    parser.add_argument("--no-mirroring", action="store_true", help="one pass instead of all flips of the model's axes")
    parser.add_argument("--step", type=float, default=0.5, help="tile step as a share of the patch")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--force", action="store_true", help="take spacings that are not plausible")
    parser.add_argument("--json", type=Path, help="write all scores to this file")


def preprocessing_of(model) -> dict:
    """The model file's preprocessing with every default in its place."""
    configuration = model.configuration
    return {"transpose_forward": [0, 1, 2], "orientation": None,
            "normalization": [{"scheme": "nonCT"}] * configuration["input_channels"],
            **configuration.get("preprocessing", {})}


def evaluate_cases(model, cases, mirroring=True, step=0.5, report=lambda text: None):
    """{case: {label value: Dice, NaN where the label is nowhere}} with the model file's preprocessing."""
    network = network_of(model)
    configuration = model.configuration
    preprocessing = preprocessing_of(model)
    axes = configuration.get("mirror_axes", [0, 1, 2]) if mirroring else []
    scores, remarks = {}, Remarks()
    for case in cases:
        # Labels of structures that the model does not know are allowed in a reference: they are nobody's.
        volume, reference = read_case(case.images, case.label, preprocessing["orientation"], remarks=remarks)
        remarks.say()
        data, _, geometry = preprocess.preprocess(volume, preprocessing)
        probabilities = inference.predict(lambda x: network(x, heads=1)[0], data, configuration["patch_size"], step,
                                          axes, exchange=exchange_of(configuration))
        prediction = preprocess.labels_to_volume(probabilities.numpy(), geometry, preprocessing)
        scores[case.name] = {label: inference.dice(prediction, reference, label)
                             for label in range(1, configuration["classes"])}
        report(f"{readable(case.name)}  " + "  ".join(means.text(score) for score in scores[case.name].values()))
    return scores


def summary(scores, labels):
    """Mean and standard deviation over the cases, per label and of the cases' means. A label has scores where it is in
    the prediction or the reference; `cases` says how many those are, and a mean of none is None."""
    columns = {value: [case[value] for case in scores.values()] for value in next(iter(scores.values()))}
    result = {"cases": len(scores), "mean": means.mean(means.mean(column) for column in columns.values()),
              "sd": means.deviation(means.mean(case.values()) for case in scores.values()), "labels": {}}
    for value, column in columns.items():
        result["labels"][str(value)] = {
            "name": labels.get(str(value), f"label {value}"), "cases": len(means.existing(column)),
            "mean": means.mean(column), "sd": means.deviation(column)}
    return result


def run(options) -> int:
    torch.set_num_threads(options.threads)
    model = read_model(options.model)
    cases = dataset.find_cases(options.data, model.configuration["input_channels"])
    if not options.force:
        require_plausible_spacings(cases, preprocessing_of(model))
    begin = time.monotonic()
    scores = evaluate_cases(model, cases, not options.no_mirroring, options.step, lambda text: print(text, flush=True))
    result = summary(scores, model.configuration.get("labels", {}))
    result["seconds"] = round(time.monotonic() - begin, 1)
    result["mirroring"] = not options.no_mirroring
    for label in result["labels"].values():
        some = f" over {label['cases']} of {result['cases']} cases" if label["cases"] < result["cases"] else ""
        print(f"{label['name']}: Dice {means.text(label['mean'])} (sd {means.text(label['sd'])}){some}")
    print(f"mean: Dice {means.text(result['mean'])} (sd {means.text(result['sd'])}) over {result['cases']} cases")
    if options.json:
        by_case = {readable(name): {value: means.mean([score]) for value, score in case.items()}
                   for name, case in scores.items()}
        write_json(options.json, {**result, "by_case": by_case})
    return 0
