"""What other scanners, sequences, fields of view and programs make of an image: the `wide` augmentation.

A network trained on the images of one scanner knows that scanner. Here each patch gets another contrast (curves of the
grey values, and shifts of whole structures), another receive field, resolution, noise and brightness, and parts of it
are taken away as a stripped skull or a smaller field of view would. Everything costs a few milliseconds a patch.
"""
import math
from typing import Optional

import numpy
import torch
import torch.nn.functional as functional

CURVE_ENTRIES = 1024


def smooth_field(random: numpy.random.Generator, knots, shape, components: int = 1) -> torch.Tensor:
    """(components, *shape) standard normal at the knots, linear between them."""
    values = torch.from_numpy(random.standard_normal((1, components, *knots), dtype=numpy.float32))
    return functional.interpolate(values, size=tuple(shape), mode="trilinear", align_corners=True)[0]


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = max(1, int(math.ceil(2.5 * sigma)))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float32) / sigma)**2)
    kernel = kernel / kernel.sum()
    for axis in range(3):
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        padded = functional.pad(x[None, None], padding, mode="replicate")[0, 0]
        total = kernel[0] * padded.narrow(axis, 0, x.shape[axis])
        for k in range(1, 2 * radius + 1):
            total.add_(padded.narrow(axis, k, x.shape[axis]), alpha=float(kernel[k]))
        x = total
    return x


def range_of(x: torch.Tensor):
    """(lowest value, 99.5th percentile) from a sample of the voxels; equal only where all values are."""
    sample = numpy.sort(x.reshape(-1)[::23].numpy())
    return float(x.min()), float(sample[min(len(sample) - 1, int(0.995 * len(sample)))])


def random_curve(random: numpy.random.Generator) -> numpy.ndarray:
    """A rising curve from 0 to 1 over CURVE_ENTRIES values of 0 to 1."""
    knots = int(random.integers(2, 6))
    x = numpy.concatenate([[0.0], numpy.sort(random.uniform(0.05, 0.95, knots)), [1.0]])
    y = numpy.concatenate([[0.0], numpy.sort(random.uniform(0.0, 1.0, knots)), [1.0]])
    strength = random.uniform(0.0, 0.7)
    grid = numpy.linspace(0.0, 1.0, CURVE_ENTRIES)
    return ((1 - strength) * grid + strength * numpy.interp(grid, x, y)).astype(numpy.float32)


def power_curve(random: numpy.random.Generator) -> numpy.ndarray:
    """x to a power, or the same from the bright end."""
    grid = numpy.linspace(0.0, 1.0, CURVE_ENTRIES)
    exponent = math.exp(random.uniform(math.log(0.5), math.log(2.0)))
    curve = 1.0 - (1.0 - grid)**exponent if random.random() < 0.4 else grid**exponent
    return curve.astype(numpy.float32)


def apply_curve(x: torch.Tensor, curve: numpy.ndarray, low: float, high: float) -> torch.Tensor:
    """Grey values between `low` and `high` by the curve; brighter ones keep their distance to `high`."""
    span = max(high - low, 1e-6)
    relative = (x - low) / span
    index = (relative * (CURVE_ENTRIES - 1)).long().clamp_(0, CURVE_ENTRIES - 1)
    changed = torch.take(torch.from_numpy(curve), index)
    return torch.where(relative > 1.0, relative, changed) * span + low


def shift_structures(x, labels, random, classes: int, partner: Optional[numpy.ndarray], amount: float):
    """Every structure a little brighter or darker, both sides alike, blurred at its border as voxels are."""
    offsets = random.standard_normal(classes).astype(numpy.float32) * amount
    offsets[0] = 0
    if partner is not None:
        offsets = offsets[numpy.minimum(numpy.arange(classes), partner)]
    return x + blur(torch.take(torch.from_numpy(offsets), labels), 0.6)


def lower_resolution(x: torch.Tensor, random: numpy.random.Generator) -> torch.Tensor:
    zoom = [1.0] * 3
    if random.random() < 0.5:
        zoom = [random.uniform(0.5, 1.0)] * 3
    else:
        zoom[int(random.integers(3))] = random.uniform(0.3, 0.8)
    small = [max(1, round(size * factor)) for size, factor in zip(x.shape, zoom)]
    low = functional.interpolate(x[None, None], size=small, mode="area")
    return functional.interpolate(low, size=tuple(x.shape), mode="trilinear", align_corners=False)[0, 0]


def brain_mask(labels: torch.Tensor, random: numpy.random.Generator) -> torch.Tensor:
    """What a skull-stripping program might leave: all labels, their gaps closed, and a border of random width."""
    half = functional.max_pool3d((labels > 0).float()[None, None], 2, ceil_mode=True)
    closed = 3
    for _ in range(closed):
        half = functional.max_pool3d(half, 3, 1, 1)
    for _ in range(closed - int(random.integers(0, 3))):
        half = 1.0 - functional.max_pool3d(1.0 - half, 3, 1, 1)
    wide = functional.interpolate(half, size=tuple(labels.shape), mode="trilinear", align_corners=False)[0, 0]
    return (wide > random.uniform(0.2, 0.6)) | (labels > 0)


def smaller_field_of_view(shape, random: numpy.random.Generator) -> torch.Tensor:
    """True where the image is still there: one to three faces of the patch are cut by up to 40%."""
    keep = torch.ones(tuple(shape), dtype=torch.bool)
    for _ in range(int(random.integers(1, 4))):
        axis = int(random.integers(3))
        width = int(shape[axis] * random.uniform(0.05, 0.4))
        start = 0 if random.random() < 0.5 else shape[axis] - width
        keep.narrow(axis, start, width).fill_(False)
    return keep


def vary(image: torch.Tensor, labels: torch.Tensor, random: numpy.random.Generator, classes: int,
         partner: Optional[numpy.ndarray] = None):
    """(image, labels) of a patch as another scanner or program would have given it. `partner`: the label on the other
    side of each label. Where the image is cut off there is nothing to label."""
    keep, stripped = None, random.random() < 0.15
    if stripped and bool((labels > 0).any()):
        keep = brain_mask(labels, random)
    cut = smaller_field_of_view(labels.shape, random) if random.random() < 0.15 else None
    channels = []
    for x in image.unbind(0):
        low, high = range_of(x)
        if random.random() < 0.4:
            x = shift_structures(x, labels, random, classes, partner, (high - low) * random.uniform(0.01, 0.06))
        if random.random() < 0.7:
            curve = random_curve(random) if random.random() < 0.6 else power_curve(random)
            x = apply_curve(x, curve, low, high)
        if random.random() < 0.5:
            field = smooth_field(random, random.integers(2, 5, 3), x.shape)[0]
            x = (x - low) * torch.exp(field * random.uniform(0.03, 0.3)) + low
        choice = random.random()
        if choice < 0.2:
            x = lower_resolution(x, random)
        elif choice < 0.35:
            x = blur(x, random.uniform(0.4, 1.1))
        elif choice < 0.45:
            x = x + random.uniform(0.3, 1.0) * (x - blur(x, 0.8))
        if random.random() < 0.4:
            noise = torch.from_numpy(random.standard_normal(tuple(x.shape), dtype=numpy.float32))
            x = x + noise * ((high - low) * random.uniform(0.0, 0.08))
        air = low if random.random() < 0.75 else 0.0
        if keep is not None:
            x = torch.where(keep, x, torch.full_like(x, air))
        if cut is not None:
            x = torch.where(cut, x, torch.full_like(x, air))
        if keep is not None or random.random() < 0.5:
            x = (x - x.mean()) / (x.std() + 1e-3)
        x = x * math.exp(random.uniform(-0.3, 0.3)) + random.normal(0.0, 0.2)
        channels.append(x)
    if cut is not None:
        labels = labels * cut
    return torch.stack(channels), labels
