"""Decides, from the data, how a network for it must look: spacing, patch, poolings, normalisation.

The rules are nnU-Net's, without its memory model; a limit on the patch's voxels stands in its place:

1. orientation: recorded when all images share one, so that other volumes can be brought to it; else none.
2. target spacing: the median over the cases. Where an axis is more than three times coarser than the finest and has
   also more than three times fewer voxels, its 10th percentile instead (unless that makes it the finest).
3. transpose: the axis of the largest spacing becomes the depth, if it is more than three times the others.
4. patch: the median shape after resampling, shrunk evenly to the voxel limit, its axes rounded to what the poolings
   divide.
5. poolings: an axis is pooled while it keeps at least four voxels and its voxels are not more than twice as large as
   the finest of the others; the network has as many steps as the axis pooled most often, at most five.
6. normalisation: a channel named CT is clipped to the 0.5 and 99.5 percentiles of the foreground over all cases and
   standardised with its mean and deviation; any other is z-scored by case, inside the nonzero region only where
   cropping to it takes away a quarter of the volume or more (median).
"""
from typing import List, Optional

import numpy

from .dataset import Case, Description
from .network import Architecture
from .preprocess import ANISOTROPY_THRESHOLD, bounding_box, new_shape, nonzero_mask
from .volumes import LOG, Remarks, read_case

MOST_POOLINGS = 5
FEWEST_VOXELS_AN_AXIS = 4
DEFAULT_PATCH_VOXELS = 128**3
FOREGROUND_SAMPLES_A_CASE = 10000


def target_spacing(spacings: numpy.ndarray, shapes: numpy.ndarray) -> numpy.ndarray:
    target = numpy.median(spacings, axis=0)
    median_shape = numpy.median(shapes, axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    if (target[worst] > ANISOTROPY_THRESHOLD * target[others].min()
            and median_shape[worst] * ANISOTROPY_THRESHOLD < median_shape[others].min()):
        target[worst] = max(numpy.percentile(spacings[:, worst], 10), target[others].min() + 1e-5)
    return target


def plan_poolings(size, spacing, most: int = MOST_POOLINGS):
    """Pooling strides for a patch of about `size` voxels of `spacing`, as [[d, h, w], ...]."""
    size = [float(value) for value in size]
    spacing = [float(value) for value in spacing]
    strides = []
    while len(strides) < most:
        large = [axis for axis in range(3) if size[axis] / 2 >= FEWEST_VOXELS_AN_AXIS]
        if not large:
            break
        finest = min(spacing[axis] for axis in large)
        stride = [2 if axis in large and spacing[axis] <= 2 * finest else 1 for axis in range(3)]
        strides.append(stride)
        size = [value / step for value, step in zip(size, stride)]
        spacing = [value * step for value, step in zip(spacing, stride)]
    return strides


def plan_patch(median_shape, spacing, most_voxels: int, most_poolings: int = MOST_POOLINGS):
    """(patch, strides): each axis of the patch a multiple of its poolings and near the median shape."""
    size = numpy.array(median_shape, dtype=float)
    while True:
        strides = plan_poolings(size, spacing, most_poolings)
        if not strides:
            raise ValueError(f"patch: the images are too small to pool once, median shape {tuple(median_shape)}")
        factor = numpy.prod(strides, axis=0)
        patch = (numpy.ceil(size / factor) * factor).astype(int)
        if patch.prod() <= most_voxels:
            return [int(value) for value in patch], strides
        size = size * 0.97


def _percentage_kept(volume, box) -> float:
    return numpy.prod([part.stop - part.start for part in box]) / numpy.prod(volume.data.shape[1:])


def make_plan(cases: List[Case], description: Description, base_features: int, groups: int = 5, max_features: int = 320,
              patch: Optional[list] = None, poolings: Optional[int] = None,
              most_patch_voxels: int = DEFAULT_PATCH_VOXELS, report=print) -> dict:
    """The architecture and `preprocessing` keys of the model file, from the training cases alone."""
    orientations, seen, remarks = set(), set(), Remarks()
    spacings, shapes, kept = [], [], []
    foreground = [[] for _ in description.channels]
    ct = [name.upper() == "CT" for name in description.channels]
    generator = numpy.random.default_rng(0)
    for case in cases:
        volume, labels = read_case(case.images, case.label, values=list(description.labels), remarks=remarks)
        orientations.add(volume.orientation)
        seen.update(numpy.unique(labels).tolist())
        box = bounding_box(nonzero_mask(volume.data))
        spacings.append(volume.spacing)
        shapes.append([part.stop - part.start for part in box])
        kept.append(_percentage_kept(volume, box))
        for channel in range(len(ct)):
            if ct[channel]:
                # NaN is 0 to the network, so it is 0 here.
                values = numpy.nan_to_num(volume.data[channel][labels > 0])
                if values.size > FOREGROUND_SAMPLES_A_CASE:
                    values = generator.choice(values, FOREGROUND_SAMPLES_A_CASE, replace=False)
                foreground[channel].append(values)
    remarks.say()
    absent = [f"{value} ({name})" for value, name in description.labels.items() if value not in seen]
    if absent:
        LOG.warning("warning: labels that no case has, so that none is learnt: %s", ", ".join(absent))
    orientation = next(iter(orientations)) if len(orientations) == 1 else None
    spacings, shapes = numpy.array(spacings), numpy.array(shapes)
    target = target_spacing(spacings, shapes)
    order = [0, 1, 2]
    worst = int(target.argmax())
    if target[worst] > ANISOTROPY_THRESHOLD * numpy.delete(target, worst).min():
        order = [worst] + [axis for axis in range(3) if axis != worst]
    target = target[order]
    resampled = numpy.array([new_shape(shape[order], spacing[order], target)
                             for shape, spacing in zip(shapes, spacings)])
    median_shape = numpy.median(resampled, axis=0)
    most_poolings = MOST_POOLINGS if poolings is None else poolings
    if patch is None:
        patch, strides = plan_patch(median_shape, target, most_patch_voxels, most_poolings)
    else:
        strides = plan_poolings(patch, target, most_poolings)
    use_mask = bool(numpy.median(kept) < 0.75)
    normalization = []
    for channel, is_ct in enumerate(ct):
        if is_ct:
            values = numpy.concatenate(foreground[channel]).astype(numpy.float64)
            if values.size == 0 or values.std() == 0:
                raise ValueError(f"channel {channel} ({description.channels[channel]}): expected labelled voxels of different "
                                 f"values to take the range of a CT from, found {'one value' if values.size else 'none'}")
            low, high = numpy.percentile(values, [0.5, 99.5])
            normalization.append({"scheme": "CT", "clip": [float(low), float(high)], "mean": float(values.mean()),
                                  "sd": float(values.std()), "use_mask": False})
        else:
            normalization.append({"scheme": "nonCT", "use_mask": use_mask})
    architecture = Architecture(len(description.channels), description.classes, base_features, strides, patch,
                                max_features, groups)
    report(f"{len(cases)} cases, orientation {orientation or 'mixed'}, spacing {target.tolist()}, "
           f"median shape {median_shape.tolist()}, patch {patch}, poolings {strides}")
    return {**architecture.to_json(),
            "preprocessing": {"spacing": [float(value) for value in target], "transpose_forward": order,
                              "normalization": normalization, "orientation": orientation},
            "median_shape": [float(value) for value in median_shape]}
