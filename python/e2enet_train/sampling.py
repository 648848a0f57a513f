"""Where the patches of a batch lie.

As in nnU-Net a patch with foreground shows a class drawn evenly from those of its case, so that a structure of fifty
voxels is seen as often as one of fifty thousand.
"""
from typing import Dict, List

import numpy

VOXELS_A_CLASS = 300
# A batch of one patch has no last third that is sure to show foreground: it does with this probability.
FOREGROUND_SHARE_OF_SINGLE_PATCHES = 0.75


def foreground_voxels(pairs) -> List[Dict[int, numpy.ndarray]]:
    """For each case {class: some of its voxels as (n, 3)}, of the classes above 0 that it has."""
    result = []
    for _, label_path in pairs:
        labels = numpy.load(label_path)
        where = numpy.flatnonzero(labels)
        values = labels.reshape(-1)[where]
        order = numpy.argsort(values, kind="stable")
        values, where = values[order], where[order]
        classes, first = numpy.unique(values, return_index=True)
        case = {}
        for value, flat in zip(classes, numpy.split(where, first[1:])):
            if len(flat) > VOXELS_A_CLASS:
                flat = numpy.random.default_rng(len(flat)).choice(flat, VOXELS_A_CLASS, replace=False)
            case[int(value)] = numpy.stack(numpy.unravel_index(flat, labels.shape), 1).astype(numpy.int32)
        result.append(case)
    return result


def sure_of_foreground(random: numpy.random.Generator, batch: int) -> List[bool]:
    """Which patches of a batch are sure to show foreground: the last third, at least one."""
    if batch == 1:
        return [bool(random.random() < FOREGROUND_SHARE_OF_SINGLE_PATCHES)]
    without = batch - max(1, round(batch / 3))
    return [index >= without for index in range(batch)]


def patch_centre(random: numpy.random.Generator, shape, patch, foreground=None):
    """Anywhere that keeps the patch inside; an axis shorter than the patch is centred, give or take what fits. With
    `foreground` (one entry of foreground_voxels) about a voxel of a class drawn evenly."""
    voxel = None
    if foreground:
        classes = sorted(foreground)
        voxels = foreground[classes[int(random.integers(len(classes)))]]
        voxel = voxels[int(random.integers(len(voxels)))]
    centre = []
    for axis, (size, length) in enumerate(zip(shape, patch)):
        slack = size - length
        low, high = min(slack, 0), max(slack, 0)
        if voxel is not None and slack > 0:
            start = int(numpy.clip(voxel[axis] - length // 2, low, high))
        else:
            start = int(random.integers(low, high + 1))
        centre.append(start + (length - 1) / 2)
    return centre
