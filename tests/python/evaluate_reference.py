"""Every score of `e2enet evaluate` a second time, by other means: erosion and a k-d tree of SciPy instead of neighbour
tests and a distance transform. Run on two folders of label files it compares with the program and fails on a difference:

    evaluate_reference.py --e2enet build/release/bin/e2enet --predictions PREDICTIONS --references LABELS
"""

import argparse
import json
import math
import os
import subprocess
import sys

import nibabel
import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial import cKDTree


def surface(mask):
    """Voxels of the mask that have a face neighbour outside of it; beyond the border is outside."""
    return mask & ~binary_erosion(mask, generate_binary_structure(3, 1), border_value=0)


def scores(prediction, reference, spacing, tolerance):
    """Dice, NSD and HD95 of two masks; None where not scored."""
    total = int(prediction.sum()) + int(reference.sum())
    if total == 0:
        return {"dice": None, "nsd": None, "hd95": None}
    dice = 2 * int((prediction & reference).sum()) / total
    if not prediction.any() or not reference.any():
        return {"dice": dice, "nsd": 0.0, "hd95": math.inf}
    points = [np.argwhere(surface(mask)) * np.asarray(spacing, dtype=np.float64) for mask in (prediction, reference)]
    there = cKDTree(points[1]).query(points[0])[0]
    back = cKDTree(points[0]).query(points[1])[0]
    within = tolerance * (1 + 1e-6) + 1e-12
    near = int((there <= within).sum()) + int((back <= within).sum())
    return {
        "dice": dice,
        "nsd": near / (len(there) + len(back)),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
    }


def same(found, expected, tolerance):
    """JSON's null stands for both "not scored" and an infinite distance."""
    if expected is None or math.isinf(expected):
        return found is None
    return found is not None and abs(found - expected) <= tolerance


def differences(e2enet, predictions, references, tolerance_mm=1.0):
    """Compares the program with this file on two folders; a list of texts, empty if all agree, and the number of scores."""
    command = [e2enet, "evaluate", "-p", predictions, "-r", references, "--json", "--tolerance", str(tolerance_mm)]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    wrong, compared = [], 0
    means, distances = {}, {}
    for case in report["cases"]:
        volumes = []
        for folder in (predictions, references):
            name = next(n for n in sorted(os.listdir(folder)) if n in (case["case"] + ".nii.gz", case["case"] + ".nii"))
            volumes.append(nibabel.load(os.path.join(folder, name)))
        spacing = [float(mm) for mm in volumes[1].header.get_zooms()[:3]]
        prediction, reference = (np.asarray(volume.dataobj) for volume in volumes)
        for label, found in case["labels"].items():
            expected = scores(prediction == int(label), reference == int(label), spacing, tolerance_mm)
            for key, allowed in (("dice", 1e-15), ("nsd", 1e-9), ("hd95", 1e-9)):
                compared += 1
                if not same(found[key], expected[key], allowed):
                    wrong.append(f"{case['case']}, label {label}: {key}: expected {expected[key]}, found {found[key]}")
            if expected["dice"] is not None:
                means.setdefault(label, []).append(expected["dice"])
                distances.setdefault(label, []).append(expected["hd95"])
    mean = np.mean([np.mean(values) for values in means.values()]) if means else None
    if not same(report["mean_dice"], mean, 1e-12):
        wrong.append(f"mean_dice: expected {mean}, found {report['mean_dice']}")
    mean = np.mean([np.mean(values) for values in distances.values()]) if distances else None
    if not same(report["mean_hd95"], mean, 1e-9):  # infinite where one label was missed once
        wrong.append(f"mean_hd95: expected {mean}, found {report['mean_hd95']}")
    counts = (sum(len(values) for values in distances.values()),
              sum(int(math.isinf(value)) for values in distances.values() for value in values))
    if counts != (report["pairs_scored"], report["hd95_infinite"]):
        wrong.append(f"pairs, infinite: expected {counts}, found {report['pairs_scored']}, {report['hd95_infinite']}")
    return wrong, compared


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--e2enet", required=True, metavar="PROGRAM")
    parser.add_argument("--predictions", required=True, metavar="FOLDER")
    parser.add_argument("--references", required=True, metavar="FOLDER")
    parser.add_argument("--tolerance", type=float, default=1.0, metavar="MM")
    arguments = parser.parse_args()
    wrong, compared = differences(arguments.e2enet, arguments.predictions, arguments.references, arguments.tolerance)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{compared} scores compared, {len(wrong)} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
