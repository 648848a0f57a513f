"""From a volume to what the network sees, and back.

The order is nnU-Net's: read and bring to the plan's orientation (volumes.py), crop to what is not zero, transpose, NaN
to 0, resample, normalise. Arrays are (channel, depth, height, width) with depth the file's third axis.
"""
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy
from scipy import ndimage

from .volumes import Volume, read_volume  # noqa: F401

ANISOTROPY_THRESHOLD = 3.0


@dataclass
class Geometry:
    """How to come back from the network's grid to the volume's."""

    shape: Tuple[int, int, int]
    box: Tuple[slice, slice, slice]
    spacing: Tuple[float, float, float]
    cropped_shape: Tuple[int, int, int]


def nonzero_mask(data: numpy.ndarray) -> numpy.ndarray:
    """Voxels where any channel is nonzero (NaN counts), holes filled."""
    return ndimage.binary_fill_holes((data != 0).any(axis=0))


def bounding_box(mask: numpy.ndarray) -> Tuple[slice, slice, slice]:
    """The whole volume where the mask is empty."""
    box = ndimage.find_objects(mask.astype(numpy.uint8))
    return box[0] if box else tuple(slice(0, size) for size in mask.shape)


def new_shape(shape, spacing, target) -> Tuple[int, int, int]:
    return tuple(int(value) for value in numpy.round(numpy.array(spacing) / numpy.array(target) * numpy.array(shape)))


def separate_axis(spacing, target) -> Optional[int]:
    """The axis that is resampled apart, its spacing more than three times another's; None if there is none."""
    for candidate in (spacing, target):
        if max(candidate) / min(candidate) > ANISOTROPY_THRESHOLD:
            axes = [axis for axis in range(3) if candidate[axis] == max(candidate)]
            return axes[0] if len(axes) == 1 else None
    return None


def _resize(volume: numpy.ndarray, shape, order: int) -> numpy.ndarray:
    """Half-voxel-centred spline resize with replicated edges, clipped to the range of the input (order 3)."""
    if tuple(shape) == volume.shape:
        return volume.astype(numpy.float64)
    grid = numpy.meshgrid(*[(numpy.arange(n) + 0.5) * (size / n) - 0.5 for n, size in zip(shape, volume.shape)],
                          indexing="ij", sparse=False)
    result = ndimage.map_coordinates(volume.astype(numpy.float64), grid, order=order, mode="nearest")
    return numpy.clip(result, volume.min(), volume.max()) if order > 1 else result


def resample(volume: numpy.ndarray, shape, order: int, axis: Optional[int]) -> numpy.ndarray:
    """One channel to `shape`; along `axis`, if there is one, by nearest neighbour."""
    if tuple(shape) == volume.shape:
        return volume
    if axis is None:
        return _resize(volume, shape, order).astype(numpy.float32)
    plane = [size for a, size in enumerate(shape) if a != axis]
    slices = [_resize(part, plane, order) for part in numpy.moveaxis(volume, axis, 0)]
    position = (numpy.arange(shape[axis]) + 0.5) * (volume.shape[axis] / shape[axis]) - 0.5
    index = numpy.floor(numpy.clip(position, 0, volume.shape[axis] - 1) + 0.5).astype(int)
    return numpy.moveaxis(numpy.stack([slices[i] for i in index]), 0, axis).astype(numpy.float32)


def resample_labels(labels: numpy.ndarray, shape, axis: Optional[int]) -> numpy.ndarray:
    """Each label apart with order 1, set where it reaches one half; later labels win."""
    if tuple(shape) == labels.shape:
        return labels
    result = numpy.zeros(shape, labels.dtype)
    for value in numpy.unique(labels):
        if value != 0:
            result[resample((labels == value).astype(numpy.float32), shape, 1, axis) >= 0.5] = value
    return result


def normalise(channel: numpy.ndarray, entry: dict, mask: numpy.ndarray) -> numpy.ndarray:
    """One channel by its entry of `preprocessing.normalization`."""
    channel = channel.astype(numpy.float64)
    scheme = entry["scheme"]
    inside = mask if entry.get("use_mask", False) else None
    if scheme == "CT":
        low, high = entry["clip"]
        channel = (numpy.clip(channel, low, high) - entry["mean"]) / entry["sd"]
    elif scheme == "nonCT":
        values = channel if inside is None else channel[inside]
        channel = (channel - values.mean()) / (values.std() + 1e-8)
    elif scheme != "noNorm":
        raise ValueError(f"normalization.scheme: expected CT, nonCT or noNorm, found {scheme!r}")
    if inside is not None:
        channel = numpy.where(inside, channel, 0.0)
    return channel.astype(numpy.float32)


def preprocess(volume: Volume, preprocessing: dict, labels: Optional[numpy.ndarray] = None):
    """(data, labels or None, Geometry). `labels` (D, H, W) is in the volume's own frame."""
    mask = nonzero_mask(volume.data)
    box = bounding_box(mask)
    order = preprocessing["transpose_forward"]
    data = numpy.nan_to_num(volume.data[(slice(None), *box)].transpose(0, *[axis + 1 for axis in order]), copy=True,
                            posinf=None, neginf=None)
    mask = mask[box].transpose(order)
    spacing = tuple(volume.spacing[axis] for axis in order)
    target = preprocessing.get("spacing") or spacing
    geometry = Geometry(volume.data.shape[1:], box, spacing, data.shape[1:])
    shape = new_shape(data.shape[1:], spacing, target)
    axis = separate_axis(spacing, target)
    resampled = numpy.stack([resample(channel, shape, 3, axis) for channel in data])
    # A tie is inside, as in nnU-Net, where label 0 (inside) is written after -1 (outside).
    inside = resample(mask.astype(numpy.float32), shape, 1, axis) >= 0.5
    result = numpy.stack([normalise(channel, entry, inside)
                          for channel, entry in zip(resampled, preprocessing["normalization"])])
    if labels is not None:
        labels = resample_labels(labels[box].transpose(order), shape, axis)
    return result, labels, geometry


def labels_to_volume(probabilities: numpy.ndarray, geometry: Geometry, preprocessing: dict) -> numpy.ndarray:
    """Probabilities (K, D, H, W) on the network's grid -> labels on the oriented volume's grid."""
    target = preprocessing.get("spacing") or geometry.spacing
    axis = separate_axis(geometry.spacing, target)
    resampled = numpy.stack([resample(p, geometry.cropped_shape, 1, axis) for p in probabilities])
    order = preprocessing["transpose_forward"]
    kind = numpy.min_scalar_type(len(probabilities) - 1)
    labels = resampled.argmax(0).astype(kind).transpose(numpy.argsort(order))
    result = numpy.zeros(geometry.shape, kind)
    result[geometry.box] = labels
    return result
