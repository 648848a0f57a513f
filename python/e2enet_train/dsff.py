"""Dynamic sparse feature fusion: which kernels exist, and how that changes while training.

A mask has one entry per (output channel, input channel) pair of a layer: its kernel exists whole or not at all. The
weight outside the mask is exactly zero at all times, and so are its gradient and its momentum when they are used.
"""
import math
from typing import Dict

import torch


def drop_fraction(progress: float, first: float = 0.5, last: float = 0.001) -> float:
    """Cosine from `first` at progress 0 to `last` at progress 1."""
    progress = min(max(progress, 0.0), 1.0)
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * progress))


def random_masks(weights: Dict[str, torch.Tensor], densities: Dict[str, float], seed: int) -> Dict[str, torch.Tensor]:
    """A random mask per layer with round(density * pairs) kernels, at least one."""
    masks = {}
    for index, (name, weight) in enumerate(weights.items()):
        density = densities[name]
        if not 0.0 < density <= 1.0:
            raise ValueError(f"density of {name}: expected above 0 and at most 1, found {density}")
        pairs = weight.shape[0] * weight.shape[1]
        kept = max(1, round(density * pairs))
        generator = torch.Generator().manual_seed(seed * 1000003 + index)
        mask = torch.zeros(pairs, dtype=torch.bool)
        mask[torch.randperm(pairs, generator=generator)[:kept]] = True
        masks[name] = mask.view(weight.shape[:2]).to(weight.device)
    return masks


def _kernelwise(mask: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return mask.view(*mask.shape, *([1] * (weight.dim() - 2)))


def apply_mask(values: torch.Tensor, mask: torch.Tensor) -> None:
    """Zeroes, in place, what belongs to absent kernels."""
    values.mul_(_kernelwise(mask, values).to(values.dtype))


def check_masks(parameters: Dict[str, torch.Tensor], masks: Dict[str, torch.Tensor]) -> None:
    """Refuses values of absent kernels: the network that computes with them is not the sparse one of the file."""
    for name, mask in masks.items():
        outside = (parameters[name].detach() != 0) & ~_kernelwise(mask.to(parameters[name].device), parameters[name])
        if bool(outside.any()):
            raise ValueError(f"{name}: expected zero outside the mask, found {int(outside.sum())} values that are not")


def drop_and_grow(weight: torch.Tensor, mask: torch.Tensor, fraction: float, seed: int) -> int:
    """Drops the `fraction` of kept kernels with the smallest L1 norm and grows as many, at random, among those that
    were absent before; both `weight` and `mask` change in place. Returns how many kernels moved."""
    kept = int(mask.sum())
    absent = mask.numel() - kept
    moved = min(int(fraction * kept), absent)
    if moved == 0:
        return 0
    dropped = _smallest(weight, mask, moved)
    grown = _random_absent(mask, moved, seed)
    flat = mask.view(-1)
    flat[dropped] = False
    flat[grown] = True
    with torch.no_grad():
        kernels = weight.view(flat.numel(), -1)
        kernels[dropped] = 0
        kernels[grown] = 0
    return moved


def resize(weight: torch.Tensor, mask: torch.Tensor, kept: int, seed: int) -> None:
    """Drops or grows, by the rules of drop_and_grow, until `kept` kernels are there; both change in place. What grows
    is zero, so that a network that grows computes what it did."""
    before = int(mask.sum())
    flat = mask.view(-1)
    if kept < before:
        flat[_smallest(weight, mask, before - kept)] = False
    elif kept > before:
        flat[_random_absent(mask, kept - before, seed)] = True
    with torch.no_grad():
        apply_mask(weight, mask)


def _smallest(weight: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
    """The kept kernels with the smallest L1 norm."""
    norms = weight.detach().abs().flatten(2).sum(2).view(-1)
    norms = torch.where(mask.view(-1), norms, torch.full_like(norms, math.inf))
    return torch.topk(norms, count, largest=False).indices


def _random_absent(mask: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    candidates = torch.nonzero(~mask.view(-1)).view(-1)
    generator = torch.Generator().manual_seed(seed)
    return candidates[torch.randperm(len(candidates), generator=generator)[:count].to(candidates.device)]
