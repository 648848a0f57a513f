"""Dice + cross-entropy over the deep supervision outputs.

With thirty classes the loss at full resolution reads and writes more memory than most layers of the network. So it is
one function with its own gradient, which goes over the logits three times, in the layout in which the head makes them,
and has no one-hot target.
"""
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


class _LabelLoss(torch.autograd.Function):
    """dice_and_cross_entropy for a target of whole labels: logits (B, N, K), labels (B, N)."""

    @staticmethod
    def forward(ctx, logits, labels):
        batch, voxels, classes = logits.shape
        log_probability = functional.log_softmax(logits.float(), dim=2)
        of_label = log_probability.gather(2, labels.unsqueeze(2)).squeeze(2)
        cross_entropy = -of_label.mean(dtype=torch.float64).float()
        probability = log_probability.exp_()
        right = of_label.exp()
        intersection, count = (torch.stack([torch.bincount(labels[b], weights, minlength=classes)
                                            for b, weights in enumerate(values)]).to(probability.dtype)
                               for values in (right, [None] * batch))
        # A sum by a product with ones: summing over all but the last axis is slow on a CPU.
        ones = probability.new_ones(1, voxels)
        total = torch.stack([(ones @ probability[b]).squeeze(0) for b in range(batch)]) + count
        dice = (2 * intersection + DICE_SMOOTHING) / (total + DICE_SMOOTHING)
        ctx.save_for_backward(probability, labels, right, intersection, total)
        ctx.dtype = logits.dtype
        return cross_entropy + 1.0 - dice[:, 1:].mean()

    @staticmethod
    def backward(ctx, gradient):
        probability, labels, right, intersection, total = ctx.saved_tensors
        batch, voxels, classes = probability.shape
        # By the probability of class k in a voxel the loss changes by everywhere[k], and by at_label[k] more where k is
        # the voxel's label.
        share = 1.0 / (batch * (classes - 1))
        everywhere = share * (2 * intersection + DICE_SMOOTHING) / (total + DICE_SMOOTHING)**2
        at_label = -share * 2 / (total + DICE_SMOOTHING)
        everywhere[:, 0] = at_label[:, 0] = 0
        result = torch.empty_like(probability)
        for b in range(batch):
            p = probability[b]
            label_part = at_label[b].gather(0, labels[b])
            mean = (p @ everywhere[b]).addcmul_(label_part, right[b])
            # Softmax: p_k (slope_k - mean); cross-entropy: (p_k - [k is the label]) / voxels.
            torch.sub(everywhere[b] + 1.0 / (batch * voxels), mean.unsqueeze(1), out=result[b])
            result[b].mul_(p)
            at = label_part * right[b] - 1.0 / (batch * voxels)
            result[b].scatter_add_(1, labels[b].unsqueeze(1), at.unsqueeze(1))
        return result.mul_(gradient).to(ctx.dtype), None


def label_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """dice_and_cross_entropy of logits (B, K, D, H, W) and labels (B, D, H, W), which may not be mixed."""
    last = logits.permute(0, 2, 3, 4, 1).flatten(1, 3)
    return _LabelLoss.apply(last, labels.flatten(1))


def shares_of_labels(labels: torch.Tensor, classes: int, shape) -> torch.Tensor:
    """(B, K, *shape): the share of every class in each voxel of a coarser grid, whose voxels are blocks of the finer."""
    blocks = [size // coarse for size, coarse in zip(labels.shape[1:], shape)]
    share = 1.0 / (blocks[0] * blocks[1] * blocks[2])
    target = torch.zeros(labels.shape[0], *shape, classes, device=labels.device)
    value = target.new_full((1, 1, 1, 1, 1), share).expand(labels.shape[0], *shape, 1)
    for d in range(blocks[0]):
        for h in range(blocks[1]):
            for w in range(blocks[2]):
                part = labels[:, d::blocks[0], h::blocks[1], w::blocks[2]]
                target.scatter_add_(4, part.unsqueeze(4), value)
    return target.permute(0, 4, 1, 2, 3)


def deep_supervision_loss(outputs: List[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """outputs: logits, the full resolution first; labels (B, D, H, W). A coarse voxel's target is the share of every
    class inside it, which no choice of nearest neighbour can bias."""
    weights = deep_supervision_weights(len(outputs))
    loss = weights[0] * label_loss(outputs[0], labels)
    target = None
    for weight, logits in zip(weights[1:], outputs[1:]):
        if target is None:
            target = shares_of_labels(labels, logits.shape[1], logits.shape[2:])
        elif logits.shape[2:] != target.shape[2:]:
            target = functional.adaptive_avg_pool3d(target, logits.shape[2:])
        loss = loss + weight * dice_and_cross_entropy(logits.float(), target)
    return loss
