"""Whole volumes: tiles with a Gaussian weight, mirroring, Dice. The rules are those of the C++ library."""
import itertools
import math
from typing import Callable, List, Optional, Sequence, Tuple

import numpy
import torch

Exchange = Tuple[int, numpy.ndarray]  # the axis of left and right, and the class that each class becomes by its flip


def tile_starts(size: int, patch: int, step: float) -> List[int]:
    """Where the tiles of an axis begin; the axis is at least as long as the patch.

    Steps below one voxel are refused (with a patch of one voxel, below half of it): they only put tiles in the same
    place again, and a tiny one would take for ever."""
    if size < patch or patch < 1:
        raise ValueError(f"tiles: expected an axis at least as long as the patch of {patch} voxels, found {size}")
    if not 0 < step <= 1:
        raise ValueError(f"step: expected a fraction of the patch above 0 and at most 1, found {step:g}")
    if patch * step < (0.5 if patch == 1 else 1 - 1e-9):
        raise ValueError(f"step: expected at least one voxel, {1 / patch:g} of the patch ({patch} voxels), "
                         f"found {step:g}")
    count = math.ceil((size - patch) / (patch * step)) + 1
    if count == 1:
        return [0]
    return [int(numpy.round(index * (size - patch) / (count - 1))) for index in range(count)]


def gaussian_weight(patch: Sequence[int]) -> torch.Tensor:
    exponent = sum(((torch.arange(n, dtype=torch.float64) - n // 2) / (n / 8)).square().view(
        [-1 if other == axis else 1 for other in range(3)]) for axis, n in enumerate(patch))
    return torch.exp(-0.5 * exponent).float()


def mirrored_probabilities(network: Callable, patch: torch.Tensor, mirror_axes: Sequence[int],
                           exchange: Optional[Exchange] = None) -> torch.Tensor:
    """patch (1, C, D, H, W): the mean of the probabilities over every subset of the mirror axes, (K, D, H, W)."""
    subsets = [subset for count in range(len(mirror_axes) + 1) for subset in itertools.combinations(mirror_axes, count)]
    total = 0
    for subset in subsets:
        axes = [axis + 2 for axis in subset]
        probabilities = torch.softmax(network(patch.flip(axes) if axes else patch), dim=1)
        if axes:
            probabilities = probabilities.flip(axes)
        if exchange is not None and exchange[0] in subset:
            probabilities = probabilities[:, torch.as_tensor(exchange[1])]
        total = total + probabilities
    return total[0] / len(subsets)


@torch.no_grad()
def predict(network: Callable, image: numpy.ndarray, patch: Sequence[int], step: float = 0.5,
            mirror_axes: Sequence[int] = (), device="cpu", exchange: Optional[Exchange] = None) -> torch.Tensor:
    """image (C, D, H, W) -> probabilities (K, D, H, W). `network` maps (1, C, d, h, w) to logits (1, K, d, h, w).
    `exchange`: see mirroring.exchange_of."""
    missing = [max(0, p - size) for p, size in zip(patch, image.shape[1:])]
    before = [m // 2 for m in missing]
    padded = numpy.pad(image, [(0, 0)] + [(b, m - b) for b, m in zip(before, missing)])
    starts = [tile_starts(size, p, step) for size, p in zip(padded.shape[1:], patch)]
    tiles = list(itertools.product(*starts))
    weight = gaussian_weight(patch).to(device) if len(tiles) > 1 else torch.ones(tuple(patch), device=device)
    total, total_weight = None, torch.zeros(padded.shape[1:], device=device)
    for start in tiles:
        box = tuple(slice(s, s + p) for s, p in zip(start, patch))
        tile = torch.from_numpy(numpy.ascontiguousarray(padded[(slice(None), *box)])).unsqueeze(0).to(device)
        probabilities = mirrored_probabilities(network, tile, mirror_axes, exchange)
        if total is None:
            total = torch.zeros(probabilities.shape[0], *padded.shape[1:], device=device)
        total[(slice(None), *box)] += probabilities * weight
        total_weight[box] += weight
    result = total / total_weight
    box = tuple(slice(b, b + size) for b, size in zip(before, image.shape[1:]))
    return result[(slice(None), *box)].cpu()


def dice(prediction: numpy.ndarray, reference: numpy.ndarray, label: int) -> float:
    """2 |P and R| / (|P| + |R|); NaN where the label is in neither, so that such a case is left out of a mean."""
    p, r = prediction == label, reference == label
    total = int(p.sum()) + int(r.sum())
    return 2.0 * int((p & r).sum()) / total if total else math.nan
