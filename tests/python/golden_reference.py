"""The pipeline from an image to labels in plain NumPy and SciPy, one function a rule, everything held as a whole: what the
golden sets of tests/data/golden are computed with.

Written from the description of the original (docs/volumes.md says the rules), not from the program's code or the trainer's;
test_golden_sets.py holds it to the original implementation's own vectors where the shared folder is there.

Volumes are (channels, D, H, W); D is the file's third axis.
"""

import itertools
import math

import nibabel
import numpy as np
from scipy import ndimage


def to_orientation(array, affine, code):
    """The last three axes (k, j, i) brought to `code` by permuting and flipping; and the transform that did it."""
    transform = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine),
                                                    nibabel.orientations.axcodes2ornt(code))
    return apply_orientation(array, transform), transform


def apply_orientation(array, transform):
    volumes = array.reshape(-1, *array.shape[-3:])
    turned = [nibabel.orientations.apply_orientation(volume.transpose(2, 1, 0), transform).transpose(2, 1, 0)
              for volume in volumes]
    return np.stack(turned).reshape(*array.shape[:-3], *turned[0].shape)


def inverse_orientation(transform):
    inverse = np.empty_like(transform)
    for axis, (target, direction) in enumerate(transform):
        inverse[int(target)] = [axis, direction]
    return inverse


def crop(data):
    """Where any channel is nonzero (NaN counts), holes filled; and its bounding box."""
    mask = ndimage.binary_fill_holes((data != 0).any(axis=0))
    return mask, ndimage.find_objects(mask.astype(np.uint8))[0]


def resampled_shape(shape, spacing, target):
    return [int(np.rint(s / t * n)) for n, s, t in zip(shape, spacing, target)]


def axis_apart(spacing, target):
    """The axis that is resampled on its own, or None."""
    for candidate in (spacing, target):
        if max(candidate) / min(candidate) > 3:
            return int(np.argmax(candidate)) if list(candidate).count(max(candidate)) == 1 else None
    return None


def resize(values, shape, order):
    """Pixel centres aligned, edges replicated; cubic splines keep to the range of what they were made of."""
    if list(values.shape) == list(shape):
        return values.astype(np.float64)
    positions = np.meshgrid(*[(np.arange(new) + 0.5) * (old / new) - 0.5 for old, new in zip(values.shape, shape)],
                            indexing="ij")
    result = ndimage.map_coordinates(values.astype(np.float64), positions, order=order, mode="nearest")
    return result.clip(values.min(), values.max()) if order == 3 else result


def resample(values, shape, order, axis):
    if list(values.shape) == list(shape):
        return values.astype(np.float64)
    if axis is None:
        return resize(values, shape, order)
    within = [n for a, n in enumerate(shape) if a != axis]
    slices = np.stack([resize(part, within, order) for part in np.moveaxis(values, axis, 0)])
    positions = ((np.arange(shape[axis]) + 0.5) * (len(slices) / shape[axis]) - 0.5).clip(0, len(slices) - 1)
    return np.moveaxis(slices[np.floor(positions + 0.5).astype(int)], 0, axis)


def normalise(values, inside, scheme, use_mask, properties):
    values = values.astype(np.float64)
    if scheme == "noNorm":
        return values
    if scheme == "nonCT":
        counted = values[inside] if use_mask else values
        values = (values - counted.mean()) / (counted.std() + 1e-8)
    else:
        low, high = properties["percentile_00_5"], properties["percentile_99_5"]
        mean, sd = properties["mean"], properties["sd"]
        if scheme == "CT2":
            between = values[(values > low) & (values < high)]
            mean, sd = between.mean(), between.std()
        values = (values.clip(low, high) - mean) / sd
    return np.where(inside, values, 0) if use_mask else values


class Preprocessed:
    """An image on the network's grid, and the way back. `case` has the keys of cases.json."""

    def __init__(self, data, affine, spacing, case):
        mask, self.box = crop(data)
        self.file_shape = data.shape[1:]
        cropped = np.concatenate([data[(slice(None), *self.box)], mask[self.box][None]])
        self.transform = None
        order = np.arange(3)
        if case.get("orientation"):
            cropped, self.transform = to_orientation(cropped, affine, case["orientation"])
            _, numbers = np.unique(self.transform[:, 0], return_index=True)  # output axis i, j, k -> input axis
            order = 2 - numbers[::-1]
        self.transpose = list(case["transpose_forward"])
        spacing = [spacing[order[axis]] for axis in self.transpose]
        cropped = cropped.transpose(0, *[axis + 1 for axis in self.transpose])
        data, mask = np.nan_to_num(cropped[:-1], nan=0), cropped[-1] != 0
        self.cropped_shape = list(mask.shape)
        target = case["target_spacing_transposed_frame"]
        self.spacing, self.target = spacing, target
        self.shape = resampled_shape(mask.shape, spacing, target)
        self.axis = axis_apart(spacing, target)
        self.resampled = np.stack([resample(channel, self.shape, 3, self.axis) for channel in data]).astype(np.float32)
        share = resample(mask.astype(np.float64), self.shape, 1, self.axis)
        self.inside = share >= 0.5 - 1e-9  # a voxel half inside is inside, however its half was rounded
        self.rounding_decides = bool(((share != 0.5) & (np.abs(share - 0.5) < 1e-9)).any())
        properties = case["intensityproperties"] or [None] * len(data)
        self.normalised = np.stack([
            normalise(channel, self.inside, case["scheme"], case["use_mask_for_norm"], of_channel)
            for channel, of_channel in zip(self.resampled, properties)]).astype(np.float32)

    def back(self, probabilities):
        """Probabilities at the crop, in the file's frame; labels of the whole file.

        The original takes the axes back to the image's order first, and then asks for the axis apart with the target spacing
        still in the network's order. That is kept: it is what its users' labels are made with.
        """
        untransposed = [1 + axis for axis in np.argsort(self.transpose)]
        shape = [self.cropped_shape[axis - 1] for axis in untransposed]
        spacing = [self.spacing[axis - 1] for axis in untransposed]
        axis = axis_apart(spacing, self.target)
        cropped = np.stack([resample(p, shape, 1, axis) for p in probabilities.transpose(0, *untransposed)])
        cropped = cropped.astype(np.float32)
        if self.transform is not None:
            cropped = apply_orientation(cropped, inverse_orientation(self.transform))
        labels = np.zeros(self.file_shape, np.uint8)
        labels[self.box] = cropped.argmax(axis=0)
        return cropped, labels


def tile_starts(size, patch, step):
    count = math.ceil((size - patch) / (patch * step)) + 1
    return [0] if count == 1 else [int(np.rint(i * (size - patch) / (count - 1))) for i in range(count)]


def gaussian(patch):
    squares = [((np.arange(n) - n // 2) / (n / 8)) ** 2 for n in patch]
    return np.exp(-0.5 * (squares[0][:, None, None] + squares[1][:, None] + squares[2])).astype(np.float32)


def softmax(logits):
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def predict(network, image, patch, step=0.5, mirror_axes=(), use_gaussian=True):
    """image (C, D, H, W) -> probabilities (K, D, H, W); `network` maps (C, *patch) to logits (K, *patch)."""
    short = [max(0, p - n) for p, n in zip(patch, image.shape[1:])]
    padded = np.pad(image, [(0, 0)] + [(n // 2, n - n // 2) for n in short])
    tiles = list(itertools.product(*[tile_starts(n, p, step) for n, p in zip(padded.shape[1:], patch)]))
    weight = gaussian(patch) if use_gaussian and len(tiles) > 1 else np.ones(patch, np.float32)
    total, weights = 0, np.zeros(padded.shape[1:])
    for start in tiles:
        box = tuple(slice(s, s + p) for s, p in zip(start, patch))
        mean = 0
        for subset in itertools.chain.from_iterable(itertools.combinations(mirror_axes, n)
                                                    for n in range(len(mirror_axes) + 1)):
            axes = [axis + 1 for axis in subset]
            tile = np.flip(padded[(slice(None), *box)], axes)
            mean = mean + np.flip(softmax(network(tile)), axes) / 2 ** len(mirror_axes)
        if np.isscalar(total):
            total = np.zeros((len(mean), *padded.shape[1:]))
        total[(slice(None), *box)] += mean * weight
        weights[box] += weight
    inner = tuple(slice(n // 2, n // 2 + size) for n, size in zip(short, image.shape[1:]))
    return (total / weights)[(slice(None), *inner)].astype(np.float32)
