#!/usr/bin/env python3
"""Regenerates the test networks from their seeds, first of all the full-size net C, whose weights are too large to store.

    golden_network.py META.json MODEL.safetensors

META.json is the `meta.json` of a folder of golden vectors (net_A to net_D). The rule was found by comparing with the stored
checkpoints of A, B and D, which it reproduces bit for bit (test_golden_network.py); C is confirmed by its stored outputs.

 1. torch's generator is seeded; the tensors are drawn in the order of the checkpoint's state_dict:
    weights normal, scaled by sqrt(2 / fan-in), where a transposed convolution's fan-in is its input channels (each output
    voxel sees one value of each); biases uniform in +-0.05, norm weights 1 plus as much as +-0.2, norm biases in +-0.1.
 2. Weights smaller than 1e-6 become 1e-6, so that no kept value is zero by chance.
 3. Tensors that meta.json says are exact in bfloat16 are rounded to it.
 4. Python's generator, seeded alike, samples the kept kernels of each masked layer, numbered in memory order.
"""

import argparse
import json
import math
import os
import random
import sys

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python"))

from convert_checkpoint import checkpoint_prefixes  # noqa: E402
from e2enet_model_file import (FORMAT_VERSION, Model, possible_heads, sparse_from_dense, tensor_shapes,  # noqa: E402
                               write_model)


def state_dict(meta):
    """The checkpoint's weights, {name: tensor}, pruned kernels zero."""
    torch.manual_seed(meta["seed"])
    exact = meta["weights_exact_in_bfloat16"]
    limit = {"all": -1, "none": math.inf, "tensors with more than 100000 elements": 100_000}[exact]
    weights = {}
    for name, shape in meta["state_dict_keys"].items():
        if len(shape) == 5:
            fan_in = shape[0] if name.startswith("up") else math.prod(shape[1:])
            tensor = torch.randn(shape) * math.sqrt(2 / fan_in)
            tensor[tensor.abs() < 1e-6] = 1e-6
        elif name.endswith("conv.bias"):
            tensor = torch.empty(shape).uniform_(-0.05, 0.05)
        elif name.endswith("instnorm.weight"):
            tensor = 1 + torch.empty(shape).uniform_(-0.2, 0.2)
        else:
            tensor = torch.empty(shape).uniform_(-0.1, 0.1)
        weights[name] = tensor.bfloat16().float() if tensor.numel() > limit else tensor
    if meta["density"] is not None:
        generator = random.Random(meta["seed"])
        for name, mask in meta["masks"].items():
            kept = torch.zeros(mask["kernels"])
            kept[generator.sample(range(mask["kernels"]), mask["active"])] = 1
            weights[name] *= kept.reshape(*mask["shape"][:2], 1, 1, 1)
    return weights


def network(meta):
    """The same as a Model."""
    configuration = {
        "format_version": FORMAT_VERSION,
        "input_channels": meta["in_channels"],
        "classes": meta["num_classes"],
        "base_features": meta["base"],
        "pool_strides": meta["pool_op_kernel_sizes"],
        "patch_size": meta["patch"],
        "provenance": {"data": "none: random weights, for tests", "seed": meta["seed"]},
    }
    levels = len(configuration["pool_strides"])
    prefixes = checkpoint_prefixes(levels)
    parts = {"bias": "conv.bias", "norm_weight": "instnorm.weight", "norm_bias": "instnorm.bias"}
    weights = {name: tensor.numpy() for name, tensor in state_dict(meta).items()}
    tensors = {}
    for name in tensor_shapes(configuration, [i for i in possible_heads(levels) if i > 0]):
        prefix, kind = name.rsplit(".", 1)
        source = prefixes[prefix]
        if kind in parts:
            tensors[name] = weights[f"{source}.{parts[kind]}"]
        elif prefix.startswith("backbone."):
            tensors[name] = weights[f"{source}.conv.weight"][:, :, 0]
        elif prefix.startswith("head."):
            tensors[name] = weights[f"{source}.weight"][:, :, 0, 0, 0]
        elif kind == "kernels":
            up = prefix.startswith("up.")
            weight = weights[f"{source}.weight"].swapaxes(0, 1) if up else weights[f"{source}.conv.weight"][:, :, 0]
            tensors[name], tensors[prefix + ".connectivity"] = sparse_from_dense(weight)
    return Model(configuration, tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meta", metavar="META.json", help="meta.json of the network's golden vectors")
    parser.add_argument("model", metavar="MODEL.safetensors", help="the model file to write")
    options = parser.parse_args()
    with open(options.meta, encoding="utf-8") as file:
        write_model(options.model, network(json.load(file)))


if __name__ == "__main__":
    main()
