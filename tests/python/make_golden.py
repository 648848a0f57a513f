#!/usr/bin/env python3
"""Makes the golden sets of tests/data/golden from seeds, with the plain reference of golden_reference.py.

    make_golden.py [FOLDER]      (tests/data/golden unless told)

The layout is that of the original implementation's vectors, so that the same tests run over both. test_golden_sets.py checks
that the files are what this makes, and that the reference is the original's equal.
"""

import argparse
import gzip
import io
import json
import os
import sys

import nibabel
import numpy as np
import torch
from scipy import ndimage

import support
from e2enet_model_file import write_model
from e2enet_reference import forward
from golden_reference import Preprocessed, predict

HERE = os.path.join(support.ROOT, "tests", "data", "golden")

# name: shape, spacing (D, H, W), channels, kind, affine directions (rows x, y, z of voxel axes i, j, k; None: diagonal)
SOURCES = {
    "ct": dict(shape=(11, 15, 13), spacing=(3.0, 3.0, 3.0)),
    "ct_thick": dict(shape=(9, 14, 16), spacing=(12.0, 3.0, 3.0)),
    "ct_wide": dict(shape=(14, 13, 8), spacing=(3.0, 3.0, 12.0)),
    "mr": dict(shape=(14, 15, 17), spacing=(2.0, 2.0, 2.0), border=True, nan=True),
    "mr_two": dict(shape=(15, 13, 14), spacing=(3.0, 3.0, 3.0), border=True, channels=2),
    "mr_ratio3": dict(shape=(12, 14, 13), spacing=(3.0, 1.0, 1.0)),
    "mr_two_coarse": dict(shape=(13, 9, 8), spacing=(1.0, 4.0, 4.0)),
    "mr_tall": dict(shape=(13, 9, 14), spacing=(1.0, 5.0, 1.0), border=True),
    # i runs to the front, j downwards, k to the left
    "turned": dict(shape=(13, 12, 15), spacing=(2.0, 1.5, 1.0), border=True,
                   directions=[[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
}

CASES = {
    "same": dict(source="ct", target=(3, 3, 3), scheme="CT"),
    "down": dict(source="ct", target=(4.3, 4.3, 4.3), scheme="CT", classes=3),
    "mixed": dict(source="ct", target=(4, 2.5, 3.3), scheme="CT2"),
    "none": dict(source="ct", target=(2.6, 2.9, 2.7), scheme="noNorm"),
    "to_thick": dict(source="ct", target=(10, 2.7, 3.6), scheme="CT", classes=3),
    "to_thick_transposed": dict(source="ct", target=(10, 2.7, 3.6), scheme="CT2", transpose=(2, 0, 1), classes=3),
    "thick_up": dict(source="ct_thick", target=(7, 2.4, 2.4), scheme="CT", classes=4),
    "thick_half": dict(source="ct_thick", target=(24, 3, 3), scheme="CT", classes=3),
    "wide": dict(source="ct_wide", target=(2.4, 2.4, 7), scheme="CT", classes=3),
    "wide_transposed": dict(source="ct_wide", target=(7, 2.4, 2.4), scheme="CT", transpose=(2, 0, 1), classes=3),
    "mask": dict(source="mr", target=(3.1, 3.1, 3.1), scheme="nonCT", use_mask=True, classes=3),
    "no_mask": dict(source="mr", target=(3.1, 3.1, 3.1), scheme="nonCT"),
    "ct_mask": dict(source="mr_two", target=(3.7, 3.7, 3.7), scheme="CT", use_mask=True),
    "ct2_mask": dict(source="mr_two", target=(2.2, 2.45, 2.05), scheme="CT2", use_mask=True),
    "two_mask": dict(source="mr_two", target=(3.7, 3.7, 3.7), scheme="nonCT", use_mask=True, classes=4),
    "ratio3": dict(source="mr_ratio3", target=(2.1, 1.3, 1.15), scheme="nonCT", classes=3),
    "two_coarse": dict(source="mr_two_coarse", target=(2, 3, 3), scheme="nonCT", classes=3),
    "tall": dict(source="mr_tall", target=(1.4, 3.5, 1.4), scheme="nonCT", use_mask=True, classes=3),
    "turned": dict(source="turned", target=(1.3, 2.2, 1.7), scheme="nonCT", use_mask=True, orientation="RAS", classes=3),
    "turned_transposed": dict(source="turned", target=(1.2, 1.9, 1.4), scheme="CT", orientation="LPS",
                              transpose=(1, 2, 0), classes=3),
}


def save(path, array):
    """The same bytes for the same array: no time, no name."""
    plain = io.BytesIO()
    np.save(plain, array)
    with open(path, "wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped:
        zipped.write(plain.getvalue())


def save_nifti(path, volume, affine):
    image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with open(path, "wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped:
        zipped.write(image.to_bytes())


def noise(generator, shape, width=1.2):
    field = ndimage.gaussian_filter(generator.standard_normal(shape), width)
    return field / field.std()


def make_source(seed, shape, spacing, channels=1, border=False, nan=False, directions=None):
    """(channels, D, H, W) of whole numbers, and the affine."""
    generator = np.random.default_rng(seed)
    volumes = []
    for channel in range(channels):
        volume = np.rint(noise(generator, shape) * 200 + 60)
        if border:  # to be cropped, with a hole inside that the mask fills
            volume = np.rint(np.abs(volume)) + 1
            away = sum(((np.arange(n) - n / 2 + 0.5 + channel) / (n / 2 - 1)).reshape(
                [-1 if a == axis else 1 for a in range(3)]) ** 2 for axis, n in enumerate(shape))
            volume[away > 1] = 0
            volume[tuple(slice(n // 2 - 1, n // 2 + 1) for n in shape)] = 0
        else:  # zeros within and at the edge, which are no background to crop
            volume[generator.random(shape) < 0.03] = 0
        volumes.append(volume.astype(np.float32))
    if nan:
        inside = np.argwhere(volumes[0] != 0)
        for d, h, w in inside[generator.choice(len(inside), 9, replace=False)]:
            volumes[0][d, h, w] = np.nan
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if directions is None else np.array(directions)) * np.array(spacing[::-1])
    affine[:3, 3] = [-12.5, 7.25, 30]
    return np.stack(volumes), affine


def make_prep(folder):
    sources = {}
    for seed, (name, source) in enumerate(SOURCES.items()):
        data, affine = sources[name] = make_source(seed, **source)
        whole = not np.isnan(data).any()
        for c, volume in enumerate(data):
            save_nifti(os.path.join(folder, f"src_{name}_{c:04d}.nii.gz"), volume.astype(np.int16) if whole else volume,
                       affine)
        save(os.path.join(folder, f"src_{name}.npy.gz"), data.astype(np.int16) if whole else data)
    cases = {}
    for seed, (name, case) in enumerate(CASES.items()):
        data, affine = sources[case["source"]]
        spacing = SOURCES[case["source"]]["spacing"]
        properties = None
        if case["scheme"].startswith("CT"):
            properties = [{"mean": 49.25 + c, "sd": 141.5, "percentile_00_5": -258.0 + 270 * ("mr" in case["source"]),
                           "percentile_99_5": 362.0} for c in range(len(data))]
        info = {"source": case["source"], "original_spacing": spacing,
                "target_spacing_transposed_frame": case["target"],
                "transpose_forward": case.get("transpose", (0, 1, 2)), "scheme": case["scheme"],
                "use_mask_for_norm": case.get("use_mask", False), "intensityproperties": properties,
                "orientation": case.get("orientation", "")}
        result = Preprocessed(data, affine, spacing, info)
        if result.rounding_decides:  # between inside and outside: then no implementation is right
            raise ValueError(f"case {name}: a voxel is half inside: choose another target spacing")
        info.update(crop_bbox=[[part.start, part.stop] for part in result.box],
                    size_after_resampling=[len(data), *result.shape], resampled_saved_every=1, normalised_saved_every=1)
        save(os.path.join(folder, f"{name}_seg_resampled.npy.gz"), result.inside.astype(np.int8) - 1)
        # What is not resampled on a grid of its own need not be kept twice.
        if case["scheme"] != "noNorm":
            save(os.path.join(folder, f"{name}_normalised.npy.gz"), result.normalised)
        if case["scheme"] == "noNorm" or "classes" in case:
            save(os.path.join(folder, f"{name}_resampled.npy.gz"), result.resampled)
        if "classes" in case:
            generator = np.random.default_rng(100 + seed)
            logits = np.stack([noise(generator, result.shape, 1) for _ in range(case["classes"])]) * 2
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
            probabilities = (np.rint(probabilities * 4096) / 4096).astype(np.float32)  # so that they pack
            cropped, labels = result.back(probabilities)
            info["inverse"] = {"classes": case["classes"], "prob1_saved_every": 1}
            save(os.path.join(folder, f"{name}_inv_softmax.npy.gz"), probabilities)
            save(os.path.join(folder, f"{name}_inv_prob1.npy.gz"), cropped[1])
            save(os.path.join(folder, f"{name}_inv_label.npy.gz"), labels)
        cases[name] = info
    for name in ("mr", "mr_two"):
        data, affine = sources[name]
        spacing = SOURCES[name]["spacing"]
        result = Preprocessed(data, affine, spacing, {
            "transpose_forward": (0, 1, 2), "target_spacing_transposed_frame": spacing, "scheme": "noNorm",
            "use_mask_for_norm": False, "intensityproperties": None})
        save(os.path.join(folder, f"crop_{name}_data.npy.gz"), result.normalised)
        save(os.path.join(folder, f"crop_{name}_seg.npy.gz"), result.inside[None].astype(np.int8) - 1)
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


def make_network(path, seed, channels, preprocessing):
    model = support.random_model(seed, density=0.5, input_channels=channels, patch_size=[8, 16, 12], base_features=4,
                                 preprocessing=preprocessing)
    write_model(path, model)
    return lambda patch: forward(model, patch, dtype=torch.float64)


SLIDE_RUNS = {
    "long_plain": dict(input="long", step=0.5, mirror_axes=(), gaussian=True),
    "long_mirror": dict(input="long", step=0.5, mirror_axes=(0, 1, 2), gaussian=True),
    "short_mirror": dict(input="short", step=0.5, mirror_axes=(0, 1, 2), gaussian=True),
    "short_step075_flat": dict(input="short", step=0.75, mirror_axes=(), gaussian=False),
    "one_plain": dict(input="one", step=0.5, mirror_axes=(), gaussian=True),
    "one_mirror02": dict(input="one", step=0.5, mirror_axes=(0, 2), gaussian=True),
}
SLIDE_SHAPES = {"long": (19, 25, 21), "short": (5, 11, 27), "one": (7, 14, 12)}  # patch 8, 16, 12


def make_slide(folder):
    network = make_network(os.path.join(folder, "model.safetensors"), 3, 1, {})
    inputs = {}
    for seed, (name, shape) in enumerate(SLIDE_SHAPES.items()):
        values = np.rint(noise(np.random.default_rng(200 + seed), (1, *shape)) * 256) / 256
        inputs[name] = values.astype(np.float32)
        save(os.path.join(folder, f"{name}_input.npy.gz"), inputs[name])
    for name, run in SLIDE_RUNS.items():
        probabilities = predict(network, inputs[run["input"]], (8, 16, 12), run["step"], run["mirror_axes"],
                                run["gaussian"])
        save(os.path.join(folder, f"{name}_prob.npy.gz"), probabilities[:-1])  # the last is what is left of 1
        save(os.path.join(folder, f"{name}_seg.npy.gz"), probabilities.argmax(axis=0).astype(np.uint8))
    with open(os.path.join(folder, "meta.json"), "w", encoding="utf-8") as file:
        json.dump(SLIDE_RUNS, file, indent=1)
        file.write("\n")


E2E = {
    "plain": dict(source=dict(shape=(13, 23, 19), spacing=(2.5, 1.2, 1.4)), channels=1, target=(2.5, 1.6, 1.1),
                  scheme="CT", mirror_axes=(0, 1, 2)),
    "thick": dict(source=dict(shape=(9, 22, 18), spacing=(6.0, 1.2, 1.4), border=True, channels=2), channels=2,
                  target=(5.0, 1.0, 1.0), scheme="nonCT", use_mask=True, mirror_axes=()),
    "turned": dict(source=dict(shape=(14, 17, 19), spacing=(2.0, 1.5, 1.0), border=True,
                               directions=[[0, 0, -1], [1, 0, 0], [0, -1, 0]]), channels=1, target=(1.8, 1.4, 1.2),
                   scheme="nonCT", transpose=(1, 2, 0), orientation="RAS", mirror_axes=(0, 2)),
}


def make_e2e(folder):
    meta = {}
    for seed, (name, case) in enumerate(E2E.items()):
        data, affine = make_source(300 + seed, **case["source"])
        info = {"target_spacing_transposed_frame": case["target"], "scheme": case["scheme"],
                "transpose_forward": case.get("transpose", (0, 1, 2)), "use_mask_for_norm": case.get("use_mask", False),
                "orientation": case.get("orientation", ""), "intensityproperties": None}
        entry = {"scheme": case["scheme"], "use_mask": info["use_mask_for_norm"]}
        if case["scheme"] == "CT":
            info["intensityproperties"] = [{"mean": 49.25, "sd": 141.5, "percentile_00_5": -258.0,
                                            "percentile_99_5": 362.0}]
            entry.update(clip=[-258.0, 362.0], mean=49.25, sd=141.5)
        preprocessing = {"spacing": [float(s) for s in case["target"]], "normalization": [entry] * case["channels"],
                         "transpose_forward": list(info["transpose_forward"])}
        if case.get("orientation"):
            preprocessing["orientation"] = case["orientation"]
        network = make_network(os.path.join(folder, f"{name}.safetensors"), 10 + seed, case["channels"], preprocessing)
        for c, volume in enumerate(data):
            save_nifti(os.path.join(folder, f"{name}_{c:04d}.nii.gz"), volume.astype(np.int16), affine)
        result = Preprocessed(data, affine, case["source"]["spacing"], info)
        probabilities = predict(network, result.normalised, (8, 16, 12), mirror_axes=case["mirror_axes"])
        _, labels = result.back(probabilities)
        save(os.path.join(folder, f"{name}_preprocessed.npy.gz"), result.normalised)
        save(os.path.join(folder, f"{name}_label.npy.gz"), labels)
        meta[name] = {"mirror_axes": case["mirror_axes"], "channels": case["channels"], "network_shape": result.shape}
    with open(os.path.join(folder, "meta.json"), "w", encoding="utf-8") as file:
        json.dump(meta, file, indent=1)
        file.write("\n")


def make(folder):
    for name, function in (("prep", make_prep), ("slide", make_slide), ("e2e", make_e2e)):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        function(os.path.join(folder, name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default=HERE, help="where to write them")
    make(parser.parse_args().folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
