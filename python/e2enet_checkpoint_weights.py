"""From the weights of a reference checkpoint to a model file's: architecture by their shapes, tensors by their names."""

import re

import numpy as np

from e2enet_checkpoint import ConversionError, Tensor
from e2enet_model_file import (DEFAULT_MAX_FEATURES, FORMAT_VERSION, OPTIONAL_HEADS, blocks_of_node, features_per_level,
                               fusion_nodes, possible_heads, sparse_from_dense, sparse_layer_channels, tensor_shapes)


def checkpoint_prefixes(levels):
    """{prefix here: prefix there} of every block, transposed convolution and possible head; SPEC 1.4's table."""
    prefixes = {}
    for i in range(levels + 1):
        for block in (0, 1):
            there = (f"conv_blocks_context.{i}.blocks.{block}" if i < levels
                     else f"conv_blocks_context.{i}.{block}.blocks.0")
            prefixes[f"backbone.{i}.{block}"] = there
    for i, j in fusion_nodes(levels):
        z, k = levels - i - j, j - 1
        prefixes[f"up.{i}.{j}"] = f"up{z}.{k}"
        for block in range(blocks_of_node(levels, i, j)):
            prefixes[f"fusion.{i}.{j}.{block}"] = f"loc{z}.{k}.{block}.blocks.0"
    for i in range(OPTIONAL_HEADS + 1):
        prefixes[f"head.{i}"] = f"seg_outputs.{i}"
    return prefixes


def name_without_wrappers(name):
    """A tensor's name without what DataParallel ("module.", in front) and torch.compile ("_orig_mod.", wherever a part of
    the network was compiled) put into it; neither is a name in an E2ENet."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


class Weights:
    """The tensors of a checkpoint by their names; remembers which were used, so that none is left out in silence."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint
        content = checkpoint.content
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict) or not state:
            raise ConversionError(f"{checkpoint.path}: state_dict: expected a dictionary of tensors, found none")
        for name, tensor in state.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise ConversionError(f"{checkpoint.path}: state_dict.{name}: expected a tensor, "
                                      f"found {type(tensor).__name__}")
        self.tensors = {}
        for name, tensor in state.items():
            own = name_without_wrappers(name)
            if own in self.tensors:
                raise ConversionError(f"{checkpoint.path}: state_dict.{name}: expected one tensor for {own}, found two")
            self.tensors[own] = tensor
        state = self.tensors
        self.unused = set(state)

    def shape(self, name):
        if name not in self.tensors:
            raise ConversionError(f"{self.checkpoint.path}: {name}: expected in state_dict, found none")
        return self.tensors[name].shape

    def array(self, name, shape):
        found = self.shape(name)
        if found != shape:
            raise ConversionError(f"{self.checkpoint.path}: {name}: expected shape {shape}, found {found}")
        self.unused.discard(name)
        array = self.checkpoint.array(self.tensors[name], name)
        wrong = np.count_nonzero(~np.isfinite(array))
        if wrong:
            raise ConversionError(f"{self.checkpoint.path}: {name}: expected finite values, found {wrong} that are not")
        return array


def architecture_of(weights):
    """Channels, features, classes, pooling steps and, from the transposed convolutions' shapes, the pooling strides."""
    where = weights.checkpoint.path
    stages = [int(match[1]) for match in (re.match(r"conv_blocks_context\.(\d+)\.", name) for name in weights.tensors) if match]
    if not stages:
        raise ConversionError(f"{where}: conv_blocks_context: expected the blocks of an E2ENet backbone, found none")
    levels = max(stages)
    if levels < 1 or levels > len(weights.tensors):
        raise ConversionError(f"{where}: conv_blocks_context: expected one pooling step or more, found {levels}")

    def shape(name, dimensions):
        found = weights.shape(name)
        if len(found) != dimensions:
            raise ConversionError(f"{where}: {name}: expected {dimensions} dimensions, found shape {found}")
        return found

    prefixes = checkpoint_prefixes(levels)
    features = [shape(prefixes[f"backbone.{i}.0"] + ".conv.weight", 5)[0] for i in range(levels + 1)]
    doubling = [features[0] * 2**i for i in range(levels + 1)]
    limit = max(DEFAULT_MAX_FEATURES, features[-1]) if features == doubling else features[-1]
    if features != [min(count, limit) for count in doubling]:
        raise ConversionError(f"{where}: conv_blocks_context: expected features that double from level to level up to a limit, "
                              f"found {features}")
    strides = [list(shape(prefixes[f"up.{i}.1"] + ".weight", 5)[2:]) for i in range(levels)]
    return {
        "format_version": FORMAT_VERSION,
        "input_channels": shape(prefixes["backbone.0.0"] + ".conv.weight", 5)[1],
        "classes": shape(prefixes["head.0"] + ".weight", 5)[0],
        "base_features": features[0],
        "max_features": limit,
        "pool_strides": strides,
    }


def tensors_of(weights, configuration):
    """All tensors of the (valid) configuration, under the names of docs/model-file.md."""
    features = features_per_level(configuration)
    levels = len(features) - 1
    prefixes = checkpoint_prefixes(levels)
    heads = [i for i in possible_heads(levels) if i > 0 and prefixes[f"head.{i}"] + ".weight" in weights.tensors]
    there = {"bias": "conv.bias", "norm_weight": "instnorm.weight", "norm_bias": "instnorm.bias"}
    sparse_layers = sparse_layer_channels(configuration)
    tensors = {}
    for name, shape in tensor_shapes(configuration, heads).items():
        prefix, kind = name.rsplit(".", 1)
        source = prefixes[prefix]
        if kind in there:
            tensors[name] = weights.array(f"{source}.{there[kind]}", shape)
        elif prefix.startswith("backbone."):
            tensors[name] = weights.array(f"{source}.conv.weight", (*shape[:2], 1, *shape[2:]))[:, :, 0]
        elif prefix.startswith("head."):
            tensors[name] = weights.array(f"{source}.weight", (*shape, 1, 1, 1))[:, :, 0, 0, 0]
        elif kind == "kernels" and prefix.startswith("up."):
            i = int(prefix.split(".")[1])
            weight = weights.array(f"{source}.weight", (features[i + 1], features[i], *shape[1:]))
            tensors[name], tensors[prefix + ".connectivity"] = sparse_from_dense(weight.swapaxes(0, 1))
        elif kind == "kernels":
            outputs, inputs = sparse_layers[prefix]
            weight = weights.array(f"{source}.conv.weight", (outputs, inputs, 1, *shape[1:]))
            tensors[name], tensors[prefix + ".connectivity"] = sparse_from_dense(weight[:, :, 0])
    if weights.unused:
        names = ", ".join(sorted(weights.unused)[:3])
        raise ConversionError(f"{weights.checkpoint.path}: state_dict: expected the tensors of an E2ENet with {levels} pooling "
                              f"steps, found {len(weights.unused)} others: {names}")
    return tensors
