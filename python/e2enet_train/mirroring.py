"""Left and right: which axis of the network's grid they lie on, and what a flip of it does to labels.

A flip of the left-right axis makes a right structure look like the left one, so it must exchange the labels of each
pair, or not be done.
"""
import re
from typing import List, Optional, Sequence, Tuple

import numpy

# Words of their own: "left amygdala", "hippocampus_L", "lh.thalamus"; but L1 is a vertebra.
SIDED_NAME = re.compile(r"(^|[^a-z0-9])(left|right|l|r|lh|rh)([^a-z0-9]|$)", re.IGNORECASE)


class MirroringError(ValueError):
    """Labels and flips do not go together."""


def check_pairs(pairs, classes: int, where: str) -> List[Tuple[int, int]]:
    """The pairs of `mirrored_labels`: two labels each, none of them 0, none in two pairs."""
    if not isinstance(pairs, list):
        raise MirroringError(f"{where}: mirrored_labels: expected a list of pairs of labels, found {pairs!r}")
    seen = set()
    for pair in pairs:
        if (not isinstance(pair, (list, tuple)) or len(pair) != 2
                or not all(isinstance(label, int) and not isinstance(label, bool) for label in pair)):
            raise MirroringError(f"{where}: mirrored_labels: expected pairs of whole numbers, found {pair!r}")
        for label in pair:
            if not 1 <= label < classes:
                raise MirroringError(f"{where}: mirrored_labels: expected labels of 1 to {classes - 1}, found {label}")
            if label in seen:
                raise MirroringError(f"{where}: mirrored_labels: expected every label once, found {label} twice")
            seen.add(label)
    return [(int(a), int(b)) for a, b in pairs]


def left_right_axis(preprocessing: dict) -> Optional[int]:
    """The axis (0 depth, 1 height, 2 width) of the network's grid along which left and right lie; None where the images
    have no common orientation. The letters of `orientation` belong to the file's axes, of which depth is the third."""
    orientation = preprocessing.get("orientation")
    if orientation is None:
        return None
    order = preprocessing.get("transpose_forward", [0, 1, 2])
    letters = [orientation[2 - axis] for axis in order]
    return next(axis for axis, letter in enumerate(letters) if letter in "LR")


def exchange_table(pairs: Sequence[Tuple[int, int]], classes: int) -> numpy.ndarray:
    """The label that each label becomes when left and right change places."""
    table = numpy.arange(classes)
    for a, b in pairs:
        table[a], table[b] = b, a
    return table


def default_axes(pairs, labels, preprocessing: dict) -> List[int]:
    """The axes that training flips if the user names none: those whose flips the labels are known to survive."""
    if pairs:
        axis = left_right_axis(preprocessing)
        if axis is None:
            raise MirroringError("mirrored_labels: the images have no common orientation, so that the axis of left and "
                                 "right is not known: expected images of one orientation, or --mirror-axes ''")
        return [axis]
    sided = [name for name in labels.values() if SIDED_NAME.search(name)]
    if sided:
        raise MirroringError(f"labels: {sided[0]!r} has a side, and a flip would exchange it with the other: expected "
                             "mirrored_labels in the data set's JSON, or --mirror-axes with the axes that may be "
                             "flipped ('' for none)")
    return [0, 1, 2]


def exchanging_axis(pairs, axes: Sequence[int], preprocessing: dict) -> Optional[int]:
    """The axis whose flip exchanges labels, if there are pairs and it is among `axes`."""
    if not pairs:
        return None
    axis = left_right_axis(preprocessing)
    if axis is None and axes:
        raise MirroringError("mirrored_labels: expected an orientation in preprocessing, by which the axis of left and "
                             "right is known, found none")
    return axis if axis in axes else None


def exchange_of(configuration: dict):
    """(axis, table) for inference.predict by a model file's configuration; None where no flip exchanges labels."""
    pairs = configuration.get("mirrored_labels", [])
    axis = exchanging_axis(pairs, configuration.get("mirror_axes", [0, 1, 2]), configuration.get("preprocessing", {}))
    return None if axis is None else (axis, exchange_table(pairs, configuration["classes"]))
