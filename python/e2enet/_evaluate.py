"""How well labels agree with reference labels (docs/metrics.md)."""

import json
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy

from ._errors import refuse
from ._images import is_nibabel, is_simpleitk, three, _axes
from ._library import LIBRARY, Handle, doubles, int64s, ints, lines, path_bytes, text_of
from ._options import is_path, whole


class LabelScore(NamedTuple):
    """Of one label. None: neither volume has it."""

    dice: Optional[float]
    nsd: Optional[float]   # normalised surface Dice at the tolerance
    hd95: Optional[float]  # 95% Hausdorff distance in mm; infinite where only one of the two has the label
    prediction_voxels: int
    reference_voxels: int
    prediction_ml: float
    reference_ml: float


class Scores(Dict[int, LabelScore]):
    """Label value -> LabelScore, and `remarks`: what the user of two files should know, a line each."""

    remarks: List[str]


def _labels(value, reverse, what):
    """An array of labels as uint16, D, H, W without gaps."""
    if is_nibabel(value):
        value, reverse = numpy.asanyarray(value.dataobj), True
    elif is_simpleitk(value):
        value, reverse = sys.modules["SimpleITK"].GetArrayViewFromImage(value), False
    array = numpy.asanyarray(value)
    if array.ndim != 3:
        raise refuse(f"{what}: expected three axes, found {array.ndim}")
    if array.dtype.kind not in "buif":
        raise refuse(f"{what}: expected labels, found the type {array.dtype}")
    labels = numpy.ascontiguousarray(array.T if reverse else array)
    with numpy.errstate(invalid="ignore"):
        whole_numbers = labels.astype(numpy.uint16, copy=False)
    if labels.dtype != numpy.uint16 and not numpy.array_equal(whole_numbers, labels):
        raise refuse(f"{what}: expected whole numbers from 0 to 65535, found others")
    return whole_numbers


def _spacing_of(value):
    if is_nibabel(value):
        return [float(zoom) for zoom in value.header.get_zooms()[:3]][::-1]
    if is_simpleitk(value):
        return list(value.GetSpacing())[::-1]
    return None


def evaluate(prediction: Any, reference: Any, *, spacing: Optional[Sequence[float]] = None, axes: str = "kji",
             tolerance: float = 1.0, labels: Optional[Sequence[int]] = None, threads: int = 0) -> Scores:
    """Dice, normalised surface Dice at `tolerance` mm, 95% Hausdorff distance and volumes of each of `labels`, without which
    of every value that occurs but 0.

    prediction, reference: two paths, two arrays (D, H, W), or with axes="ijk" (W, H, D), or two images of nibabel or
        SimpleITK. Of files it is checked that their axes run the same way; of arrays that their shapes agree.
    spacing: mm, in the arrays' order of axes; needed for arrays.

        e2enet.evaluate("labels.nii.gz", "reference.nii.gz")[1].dice

    Raises Error: INVALID_ARGUMENT, INVALID_IMAGE, CANNOT_READ, OUT_OF_MEMORY.
    """
    wanted = None if labels is None else ints([whole("labels", label) for label in labels])
    count = 0 if labels is None else len(wanted)
    threads = whole("threads", threads)
    if is_path(prediction) and is_path(reference):
        if spacing is not None:
            raise refuse("spacing: expected none beside files, which have one")
        found = Handle("scores", "evaluate_files", path_bytes(prediction), path_bytes(reference), tolerance, wanted, count,
                       threads)
    elif is_path(prediction) or is_path(reference):
        raise refuse("prediction, reference: expected two of one kind, found a path and something else")
    else:
        reverse = _axes(axes)
        arrays = [_labels(value, reverse, what) for value, what in ((prediction, "prediction"), (reference, "reference"))]
        if arrays[0].shape != arrays[1].shape:
            raise refuse(f"prediction: expected the shape of the reference, {arrays[1].shape}, found {arrays[0].shape}")
        sizes = _spacing_of(reference) if spacing is None else three("spacing", spacing, reverse)
        if sizes is None:
            raise refuse("spacing: expected mm along each axis beside arrays, found none")
        found = Handle("scores", "evaluate", arrays[0].ctypes.data, arrays[1].ctypes.data, int64s(arrays[0].shape),
                       doubles(sizes), tolerance, wanted, count, threads)
    scores = Scores()
    for label, one in json.loads(text_of("scores_json", found)).items():
        distance = float("inf") if one["hd95_infinite"] else one["hd95"]
        scores[int(label)] = LabelScore(one["dice"], one["nsd"], distance, one["prediction_voxels"], one["reference_voxels"],
                                        one["prediction_ml"], one["reference_ml"])
    scores.remarks = lines(LIBRARY.e2enet_scores_remarks(found))
    return scores
