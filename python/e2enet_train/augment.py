"""One training batch as a pure function of (seed, iteration).

Nothing here keeps a random state: a run that was killed continues with exactly the batches it would have seen, in as
many worker processes as one likes. The transformations and their probabilities are nnU-Net's.
"""
import math
from typing import List, Sequence, Tuple

import numpy
import torch
import torch.nn.functional as functional
from torch.utils.data import Dataset


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


def crop_with_padding(array: numpy.ndarray, start: Sequence[int], patch: Sequence[int]) -> numpy.ndarray:
    """array (..., D, H, W) from `start`, which may lie outside; what is outside is zero."""
    result = numpy.zeros((*array.shape[:-3], *patch), array.dtype)
    source, target = [], []
    for begin, size, available in zip(start, patch, array.shape[-3:]):
        low, high = max(begin, 0), min(begin + size, available)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - begin, max(high, low) - begin))
    result[(..., *target)] = array[(..., *source)]
    return result


def sample_affine(image: torch.Tensor, labels: torch.Tensor, classes: int, centre, matrix, patch):
    """Voxel p of the patch is taken at centre + matrix (p - middle of the patch): linear, zero outside; labels by the
    largest linear share."""
    shape = image.shape[1:]
    axes = [torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in patch]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    position = offsets @ torch.as_tensor(matrix.T, dtype=torch.float32) + torch.as_tensor(centre, dtype=torch.float32)
    span = torch.tensor([max(size - 1, 1) for size in shape], dtype=torch.float32)
    grid = (position * (2 / span) - 1).flip(-1).unsqueeze(0)
    one_hot = torch.stack([(labels == value).float() for value in range(1, classes)])
    stacked = torch.cat([image, one_hot]).unsqueeze(0)
    sampled = functional.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]
    share = sampled[image.shape[0]:]
    background = 1.0 - share.sum(0, keepdim=True)
    return sampled[:image.shape[0]], torch.cat([background, share]).argmax(0)


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


class TrainingBatches(Dataset):
    """Item t is the batch of iteration t: image (B, C, D, H, W) float32, labels (B, D, H, W) int64."""

    def __init__(self, cases: List[Tuple[str, str]], foreground: List[numpy.ndarray], classes: int, patch, batch: int,
                 seed: int, mirror_axes=(0, 1, 2), spatial: bool = True, intensity: bool = True):
        """cases: paths of the preprocessed (image, labels) as .npy; foreground: some foreground voxels of each."""
        self.cases = cases
        self.foreground = foreground
        self.classes = classes
        self.patch = tuple(patch)
        self.batch = batch
        self.seed = seed
        self.mirror_axes = tuple(mirror_axes)
        self.spatial = spatial
        self.intensity = intensity

    def __getitem__(self, iteration: int):
        random = numpy.random.default_rng([self.seed, iteration])
        # As in nnU-Net, the last third of a batch (at least one patch of it) is sure to show foreground.
        sure = self.batch - max(1, round(self.batch / 3))
        items = [self.patch_of(random, index >= sure) for index in range(self.batch)]
        return torch.stack([image for image, _ in items]), torch.stack([labels for _, labels in items])

    def patch_of(self, random: numpy.random.Generator, foreground: bool):
        index = int(random.integers(len(self.cases)))
        image = numpy.load(self.cases[index][0], mmap_mode="r")
        labels = numpy.load(self.cases[index][1], mmap_mode="r")
        centre = self.patch_centre(random, image.shape[1:], self.foreground[index] if foreground else None)
        angles, zoom = [0.0] * 3, 1.0
        if self.spatial and random.random() < 0.2:
            angles = [random.uniform(-math.pi / 6, math.pi / 6) for _ in range(3)]
        if self.spatial and random.random() < 0.2:
            zoom = random.uniform(0.7, 1.0) if random.random() < 0.5 else random.uniform(1.0, 1.4)
        if any(angles) or zoom != 1.0:
            matrix = rotation_matrix(angles) * zoom
            x, y = self.affine(image, labels, centre, matrix)
        else:
            start = [int(math.floor(c - (size - 1) / 2 + 0.5)) for c, size in zip(centre, self.patch)]
            x = torch.from_numpy(crop_with_padding(image, start, self.patch))
            y = torch.from_numpy(crop_with_padding(labels, start, self.patch).astype(numpy.int64))
        if self.intensity:
            x = augment_intensity(x, random)
        axes = [axis for axis in self.mirror_axes if random.random() < 0.5]
        if axes:
            x, y = x.flip([axis + 1 for axis in axes]), y.flip(axes)
        return x.contiguous(), y.contiguous()

    def affine(self, image, labels, centre, matrix):
        # Only the part of a large volume that the rotated patch can reach is read.
        half = numpy.abs(matrix) @ ((numpy.array(self.patch) - 1) / 2) + 1
        low = [max(0, int(math.floor(c - h))) for c, h in zip(centre, half)]
        high = [min(size, int(math.ceil(c + h)) + 1) for c, h, size in zip(centre, half, labels.shape)]
        box = tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high))
        x = torch.from_numpy(numpy.array(image[(slice(None), *box)]))
        y = torch.from_numpy(numpy.array(labels[box], dtype=numpy.int64))
        return sample_affine(x, y, self.classes, [c - a for c, a in zip(centre, low)], matrix, self.patch)

    def patch_centre(self, random, shape, foreground):
        """Anywhere that keeps the patch inside; an axis shorter than the patch is centred, give or take what fits."""
        centre = []
        voxel = None
        if foreground is not None and len(foreground):
            voxel = foreground[int(random.integers(len(foreground)))]
        for axis, (size, patch) in enumerate(zip(shape, self.patch)):
            slack = size - patch
            low, high = min(slack, 0), max(slack, 0)
            if voxel is not None and slack > 0:
                start = int(numpy.clip(voxel[axis] - patch // 2, low, high))
            else:
                start = int(random.integers(low, high + 1))
            centre.append(start + (patch - 1) / 2)
        return centre
