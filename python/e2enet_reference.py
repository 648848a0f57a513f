"""The network in plain PyTorch, one statement per sentence of the paper: slow, and the truth for everything faster.

    from e2enet_reference import forward
    logits = forward(read_model("net.safetensors"), patch)        # patch, logits: float32 arrays (channels, D, H, W)
    nodes = forward(model, patch, nodes=True)[1]                   # {(i, j): array of node x[i][j]}
"""

import numpy as np
import torch
import torch.nn.functional as functional

from e2enet_model_file import DEFAULT_GROUPS, blocks_of_node, fusion_nodes

EPSILON = 1e-5
SLOPE = 0.01


def depth_shift(x, groups):
    """Chunk k of ceil(C/groups) channels reads depth d - (k - groups//2); zero where that slice does not exist."""
    depth = x.shape[2]
    size = -(-x.shape[1] // groups)
    shifted = torch.zeros_like(x)
    for k, first in enumerate(range(0, x.shape[1], size)):
        shift = k - groups // 2
        begin, end = max(0, shift), min(depth, depth + shift)
        if begin < end:
            shifted[:, first:first + size, begin:end] = x[:, first:first + size, begin - shift:end - shift]
    return shifted


def block(x, weight, bias, norm_weight, norm_bias, groups, stride=(1, 1, 1)):
    """Shift, 1x3x3 convolution, instance norm, leaky ReLU."""
    y = functional.conv3d(depth_shift(x, groups), weight[:, :, None], bias, stride=tuple(stride), padding=(0, 1, 1))
    y = functional.instance_norm(y, weight=norm_weight, bias=norm_bias, eps=EPSILON)
    return functional.leaky_relu(y, SLOPE)


def forward(model, patch, nodes=False, dtype=torch.float32):
    """Logits (classes, D, H, W) of a patch (channels, D, H, W); with nodes=True also every x[i][j], and heads where stored."""
    configuration = model.configuration
    strides = [tuple(stride) for stride in configuration["pool_strides"]]
    levels = len(strides)
    groups = configuration.get("groups", DEFAULT_GROUPS)

    def tensor(array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)

    def run(prefix, x, stride=(1, 1, 1)):
        weight = model.tensors[prefix + ".weight"] if prefix.startswith("backbone") else model.dense(prefix)
        parts = [tensor(model.tensors[f"{prefix}.{part}"]) for part in ("bias", "norm_weight", "norm_bias")]
        return block(x, tensor(weight), *parts, groups, stride)

    with torch.no_grad():
        x = {}
        y = tensor(patch)[None]
        for i in range(levels + 1):
            y = run(f"backbone.{i}.0", y, strides[i - 1] if i else (1, 1, 1))
            y = x[i, 0] = run(f"backbone.{i}.1", y)
        for i, j in fusion_nodes(levels):
            up = tensor(model.dense(f"up.{i}.{j}")).transpose(0, 1)
            parts = [x[i, j - 1], functional.conv_transpose3d(x[i + 1, j - 1], up, stride=strides[i])]
            if i > 0:
                parts.append(functional.max_pool3d(x[i - 1, j - 1], strides[i - 1], strides[i - 1]))
            y = torch.cat(parts, 1)
            for b in range(blocks_of_node(levels, i, j)):
                y = run(f"fusion.{i}.{j}.{b}", y)
            x[i, j] = y
        heads = {}
        for name, weight in model.tensors.items():
            if name.startswith("head."):
                i = int(name.split(".")[1])
                heads[i] = functional.conv3d(x[i, levels - i], tensor(weight)[:, :, None, None, None])[0].numpy()
    if nodes:
        return heads[0], {node: value[0].numpy() for node, value in x.items()}, heads
    return heads[0]
