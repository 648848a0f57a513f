"""One training batch as a pure function of (seed, iteration).

Nothing here keeps a random state: a run that was killed continues with exactly the batches it would have seen, in as
many worker processes as one likes. The transformations and their probabilities are nnU-Net's (`standard`), or much
wider ones for images that come from anywhere (`wide`, see variation.py).
"""
import itertools
import math
from typing import List, Optional, Sequence, Tuple

import numpy
import torch
import torch.nn.functional as functional
from torch.utils.data import Dataset

from . import mirroring, sampling, variation


def rotation_matrix(angles: Sequence[float]) -> numpy.ndarray:
    """About depth, height and width, in radians; acts on (d, h, w) vectors."""
    matrix = numpy.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        part = numpy.eye(3)
        part[a, a] = part[b, b] = math.cos(angle)
        part[a, b], part[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ part
    return matrix


def crop_with_padding(array: numpy.ndarray, start: Sequence[int], patch: Sequence[int], fill=0) -> numpy.ndarray:
    """array (..., D, H, W) from `start`, which may lie outside; what is outside is `fill`."""
    result = numpy.full((*array.shape[:-3], *patch), fill, array.dtype)
    source, target = [], []
    for begin, size, available in zip(start, patch, array.shape[-3:]):
        low, high = max(begin, 0), min(begin + size, available)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - begin, max(high, low) - begin))
    result[(..., *target)] = array[(..., *source)]
    return result


def sample_affine(image: torch.Tensor, labels: torch.Tensor, centre, matrix, patch, displacement=None, fill=0.0):
    """Voxel p of the patch is taken at centre + matrix (p - middle of the patch) + displacement(p): linear, `fill`
    outside; labels by the largest linear share. The eight neighbours vote for their labels, so that the cost does not
    grow with the number of classes. Returns (image (C, *patch), labels (*patch))."""
    axes = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in patch]
    # A border of one voxel before and two behind is "outside", so that no neighbour needs a check.
    shape = [size + 3 for size in image.shape[1:]]
    low, fractions = [], []
    for axis in range(3):
        position = (float(centre[axis]) + float(matrix[axis][0]) * axes[0].view(-1, 1, 1)
                    + float(matrix[axis][1]) * axes[1].view(1, -1, 1) + float(matrix[axis][2]) * axes[2].view(1, 1, -1))
        if displacement is not None:
            position = position + displacement[axis]
        position = position.clamp(-1.0, float(image.shape[1 + axis])).reshape(-1)
        floor = position.floor()
        fractions.append(position - floor)
        low.append(floor.long() + 1)
    first = (low[0] * shape[1] + low[1]) * shape[2] + low[2]
    border = (1, 2, 1, 2, 1, 2)
    flat_image = [functional.pad(channel - fill, border).view(-1) for channel in image]
    flat_labels = functional.pad(labels, border).view(-1)
    sampled = [torch.zeros(len(first)) for _ in flat_image]
    weights, votes = [], []
    for corner in itertools.product((0, 1), repeat=3):
        weight = None
        for part, fraction in zip(corner, fractions):
            factor = fraction if part else 1.0 - fraction
            weight = factor if weight is None else weight * factor
        index = first + ((corner[0] * shape[1] + corner[1]) * shape[2] + corner[2])
        for total, channel in zip(sampled, flat_image):
            total.addcmul_(weight, channel.index_select(0, index))
        weights.append(weight)
        votes.append(flat_labels.index_select(0, index))
    result = votes[0].clone()
    differing = torch.zeros(len(first), dtype=torch.bool)
    for vote in votes[1:]:
        differing |= vote != votes[0]
    border_voxels = torch.nonzero(differing).view(-1)
    votes = [vote.index_select(0, border_voxels) for vote in votes]
    weights = [weight.index_select(0, border_voxels) for weight in weights]
    best, best_share = None, None
    for vote in votes:
        share = torch.zeros(len(border_voxels))
        for other, weight in zip(votes, weights):
            share += weight * (other == vote)
        if best is None:
            best, best_share = vote.clone(), share
            continue
        # Of equal shares the lowest label wins, whatever the order of the corners.
        better = (share > best_share) | ((share == best_share) & (vote < best))
        best = torch.where(better, vote, best)
        best_share = torch.where(better, share, best_share)
    if len(border_voxels):
        result[border_voxels] = best
    return torch.stack(sampled).view(len(sampled), *patch) + fill, result.view(*patch)


def gaussian_blur(channel: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, int(math.ceil(3 * sigma)))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma)**2)
    kernel = kernel / kernel.sum()
    result = channel
    for axis in range(3):
        # Axis by axis as a sum of shifted copies: a 3D convolution with one channel is slower on a CPU.
        size = result.shape[axis]
        index = torch.arange(-radius, size + radius).clamp(0, size - 1)
        padded = result.index_select(axis, index)
        result = sum(kernel[k] * padded.narrow(axis, k, size) for k in range(2 * radius + 1))
    return result


def augment_intensity(image: torch.Tensor, random: numpy.random.Generator) -> torch.Tensor:
    image = image.clone()
    for channel in range(image.shape[0]):
        x = image[channel]
        if random.random() < 0.1:
            noise = torch.from_numpy(random.standard_normal(x.shape, dtype=numpy.float32))
            x = x + noise * math.sqrt(random.uniform(0, 0.1))
        if random.random() < 0.2 and random.random() < 0.5:
            x = gaussian_blur(x, random.uniform(0.5, 1.0))
        if random.random() < 0.15:
            x = x * random.uniform(0.75, 1.25)
        if random.random() < 0.15:
            mean, low, high = x.mean(), x.min(), x.max()
            x = ((x - mean) * random.uniform(0.75, 1.25) + mean).clamp(low, high)
        if random.random() < 0.25 and random.random() < 0.5:
            zoom = random.uniform(0.5, 1.0)
            small = [max(1, round(size * zoom)) for size in x.shape]
            low = functional.interpolate(x[None, None], size=small, mode="nearest")
            x = functional.interpolate(low, size=tuple(x.shape), mode="trilinear", align_corners=False)[0, 0]
        for probability, inverted in ((0.1, True), (0.3, False)):
            if random.random() < probability:
                x = gamma(x, random.uniform(0.7, 1.5), inverted)
        image[channel] = x
    return image


def gamma(x: torch.Tensor, exponent: float, inverted: bool) -> torch.Tensor:
    """x to the power of `exponent` on its own range, then its own mean and deviation again."""
    x = -x if inverted else x
    mean, deviation, low = x.mean(), x.std(), x.min()
    span = x.max() - low
    x = ((x - low) / (span + 1e-7)).pow(exponent) * span + low
    x = (x - x.mean()) / (x.std() + 1e-8) * deviation + mean
    return -x if inverted else x


def standard_transformation(random: numpy.random.Generator, patch):
    """nnU-Net's rotations and zooms: (matrix, displacement), None where nothing moves."""
    angles, zoom = [0.0] * 3, 1.0
    if random.random() < 0.2:
        angles = [random.uniform(-math.pi / 6, math.pi / 6) for _ in range(3)]
    if random.random() < 0.2:
        zoom = random.uniform(0.7, 1.0) if random.random() < 0.5 else random.uniform(1.0, 1.4)
    moved = any(angles) or zoom != 1.0
    return (rotation_matrix(angles) * zoom if moved else None), None


def wide_transformation(random: numpy.random.Generator, patch):
    """Heads of other sizes, proportions and positions in the scanner: (matrix, displacement)."""
    if random.random() < 0.15:
        return None, None
    limit = math.pi / 6 * random.random()
    angles = [random.uniform(-limit, limit) for _ in range(3)]
    zoom = numpy.ones(3)
    if random.random() < 0.6:
        zoom = zoom * math.exp(random.uniform(math.log(1 / 1.35), math.log(1.35)))
    zoom = zoom * numpy.exp(random.uniform(-0.1, 0.1, 3))
    # Rotated first: the proportions change along the axes of the head, not of the patch.
    matrix = numpy.diag(numpy.clip(zoom, 1 / 1.35, 1.35)) @ rotation_matrix(angles)
    displacement = None
    if random.random() < 0.4:
        displacement = variation.smooth_field(random, random.integers(3, 6, 3), patch, 3) * random.uniform(0.3, 1.5)
    return matrix, displacement


def label_tensor(labels: numpy.ndarray) -> torch.Tensor:
    """Labels as PyTorch takes them: it has no uint16, in which more than 256 labels are kept."""
    return torch.from_numpy(labels if labels.dtype == numpy.uint8 else labels.astype(numpy.int32))


class TrainingBatches(Dataset):
    """Item t is the batch of iteration t: image (B, C, D, H, W) float32, labels (B, D, H, W) int64."""

    def __init__(self, cases: List[Tuple[str, str]], foreground: list, classes: int, patch, batch: int, seed: int,
                 mirror_axes=(0, 1, 2), exchanging_axis: Optional[int] = None, mirrored_labels=(),
                 augmentation: str = "standard", spatial: bool = True, intensity: bool = True):
        """cases: paths of the preprocessed (image, labels) as .npy; foreground: sampling.foreground_voxels of them.
        A flip of `exchanging_axis` exchanges the labels of each pair of `mirrored_labels`."""
        self.cases = cases
        self.foreground = foreground
        self.classes = classes
        self.patch = tuple(patch)
        self.batch = batch
        self.seed = seed
        self.mirror_axes = tuple(mirror_axes)
        self.exchanging_axis = exchanging_axis
        self.partner = mirroring.exchange_table(mirrored_labels, classes)
        self.augmentation = augmentation
        self.spatial = spatial
        self.intensity = intensity

    def __getitem__(self, iteration: int):
        random = numpy.random.default_rng([self.seed, iteration])
        items = [self.patch_of(random, sure) for sure in sampling.sure_of_foreground(random, self.batch)]
        return torch.stack([image for image, _ in items]), torch.stack([labels for _, labels in items])

    def patch_of(self, random: numpy.random.Generator, foreground: bool):
        wide = self.augmentation == "wide"
        index = int(random.integers(len(self.cases)))
        image = numpy.load(self.cases[index][0], mmap_mode="r")
        labels = numpy.load(self.cases[index][1], mmap_mode="r")
        centre = sampling.patch_centre(random, image.shape[1:], self.patch,
                                       self.foreground[index] if foreground else None)
        matrix, displacement, fill = None, None, 0.0
        if self.spatial:
            matrix, displacement = (wide_transformation if wide else standard_transformation)(random, self.patch)
        if wide and random.random() < 0.75:
            # Around a head there is air; around an image smaller than the patch there are zeros.
            fill = float(image.min())
        if matrix is not None:
            x, y = self.affine(image, labels, centre, matrix, displacement, fill)
        else:
            start = [int(math.floor(c - (size - 1) / 2 + 0.5)) for c, size in zip(centre, self.patch)]
            x = torch.from_numpy(crop_with_padding(image, start, self.patch, fill))
            y = label_tensor(crop_with_padding(labels, start, self.patch))
        y = y.long()
        if self.intensity and wide:
            x, y = variation.vary(x, y, random, self.classes, self.partner)
        elif self.intensity:
            x = augment_intensity(x, random)
        axes = [axis for axis in self.mirror_axes if random.random() < 0.5]
        if axes:
            x, y = x.flip([axis + 1 for axis in axes]), y.flip(axes)
        if self.exchanging_axis in axes:
            y = torch.from_numpy(self.partner)[y]
        return x.contiguous(), y.contiguous()

    def affine(self, image, labels, centre, matrix, displacement, fill):
        # Only the part of a large volume that the rotated patch can reach is read.
        half = numpy.abs(matrix) @ ((numpy.array(self.patch) - 1) / 2) + 1
        if displacement is not None:
            half = half + displacement.abs().flatten(1).max(1).values.numpy()
        low = [max(0, int(math.floor(c - h))) for c, h in zip(centre, half)]
        high = [min(size, int(math.ceil(c + h)) + 1) for c, h, size in zip(centre, half, labels.shape)]
        box = tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high))
        x = torch.from_numpy(numpy.array(image[(slice(None), *box)]))
        y = label_tensor(numpy.array(labels[box]))
        return sample_affine(x, y, [c - a for c, a in zip(centre, low)], matrix, self.patch, displacement, fill)
