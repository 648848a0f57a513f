"""Dice + cross-entropy over the deep supervision outputs."""
from typing import List

import torch
import torch.nn.functional as functional

DICE_SMOOTHING = 1e-5


def deep_supervision_weights(count: int) -> List[float]:
    """Halving with every level, summing to one."""
    weights = [0.5**level for level in range(count)]
    return [weight / sum(weights) for weight in weights]


def dice_and_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """logits (B, K, ...), target (B, K, ...) the share of each class in each voxel. Dice per sample and class without
    the background, as in nnU-Net."""
    log_probability = functional.log_softmax(logits, dim=1)
    cross_entropy = -(target * log_probability).sum() / (target.numel() / target.shape[1])
    probability = log_probability[:, 1:].exp().flatten(2)
    target = target[:, 1:].flatten(2)
    intersection = (probability * target).sum(2)
    total = probability.sum(2) + target.sum(2)
    dice = (2 * intersection + DICE_SMOOTHING) / (total + DICE_SMOOTHING)
    return cross_entropy + 1.0 - dice.mean()


def deep_supervision_loss(outputs: List[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """outputs: logits, the full resolution first; labels (B, D, H, W). A coarse voxel's target is the share of every
    class inside it, which no choice of nearest neighbour can bias."""
    classes = outputs[0].shape[1]
    target = torch.stack([(labels == value).float() for value in range(classes)], dim=1)
    loss = outputs[0].new_zeros(())
    for weight, logits in zip(deep_supervision_weights(len(outputs)), outputs):
        if logits.shape[2:] != target.shape[2:]:
            target = functional.adaptive_avg_pool3d(target, logits.shape[2:])
        loss = loss + weight * dice_and_cross_entropy(logits, target)
    return loss
