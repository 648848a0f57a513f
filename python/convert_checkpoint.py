#!/usr/bin/env python3
"""Converts a checkpoint of the reference E2ENet implementation to e2enet's model file."""

import argparse
import os
import re
import sys

import numpy as np

from e2enet_checkpoint import Checkpoint, CheckpointError, Tensor, read_plain_pickle
from e2enet_model_file import (DEFAULT_MAX_FEATURES, FORMAT_VERSION, OPTIONAL_HEADS, Model, ModelFileError, blocks_of_node,
                               features_per_level, fusion_nodes, possible_heads, refuse_unknown_keys, sparse_from_dense,
                               sparse_layer_channels, strict_json, tensor_shapes, validate_configuration, write_model)

DESCRIPTION = """\
Converts a checkpoint of the reference E2ENet implementation (a .model file of nnU-Net v1's trainers, saved by torch 1.6 or
newer) to a model file for e2enet. The plans are read from CHECKPOINT.model.pkl beside it. Needs numpy alone, not PyTorch,
and runs nothing that the files contain: types other than numbers, texts, containers, arrays and tensors are refused."""

EPILOGUE = """\
What is taken from where:
  weights                     architecture (channels, features, classes, pooling steps) and density of each layer; a kernel
                              is kept where any of its values is nonzero (checkpoints do not hold the masks)
  plans                       patch size, pooling strides, spacing, axis order, normalisation, largest components
  FILE.json (--config)        the keys of docs/model-file.md; they win over the plans. Label names, orientation, mirror axes,
                              depth-shift groups (5 unless told) and provenance are in no checkpoint: give them here, e.g.
                              {"labels": {"0": "background", "1": "liver"}, "provenance": {"data": "...", "licence": "..."}}

Exit codes: 0 done; 1 the files cannot be converted; 2 the call was wrong. Nothing is written unless all of it is right."""


class ConversionError(ValueError):
    pass


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------

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


# ---------------------------------------------------------------------------------------------------------------------
# Plans
# ---------------------------------------------------------------------------------------------------------------------

class Plans:
    """nnU-Net v1 plans as the trainer left them in CHECKPOINT.model.pkl, field by field."""

    def __init__(self, path, stage=None):
        self.path = os.fspath(path)
        self.trainer = read_plain_pickle(path)
        if not isinstance(self.trainer, dict) or not isinstance(self.trainer.get("plans"), dict):
            raise ConversionError(f"{self.path}: plans: expected a dictionary, found none")
        self.plans = self.trainer["plans"]
        stages = self.plans.get("plans_per_stage")
        if not isinstance(stages, dict) or not stages or not all(isinstance(entry, dict) for entry in stages.values()):
            raise ConversionError(f"{self.path}: plans.plans_per_stage: expected a dictionary of stages, found {stages!r:.100}")
        if stage is None:
            # The trainer's own arguments say which stage it trained; without them it is the finest, the last.
            init = self.trainer.get("init")
            named = init[5] if isinstance(init, list) and len(init) > 5 else None
            stage = named if named in stages and named is not None else max(stages)
        elif stage not in stages:
            raise ConversionError(f"{self.path}: plans.plans_per_stage: expected the stage {stage}, "
                                  f"found {', '.join(str(key) for key in stages)}")
        self.stage_field = f"plans.plans_per_stage.{stage}"
        self.stage = stages[stage]

    def numbers(self, table, key, field, length, kind):
        """A list of numbers, or None where the plans do not have it."""
        value = table.get(key)
        if value is None:
            return None
        if (not isinstance(value, list) or len(value) != length
                or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
                or kind is int and any(v != int(v) for v in value if np.isfinite(v)) or not np.isfinite(value).all()):
            raise ConversionError(f"{self.path}: {field}.{key}: expected {length} {'integers' if kind is int else 'numbers'}, "
                                  f"found {value!r:.100}")
        return [kind(v) for v in value]

    def patch_size(self):
        return self.numbers(self.stage, "patch_size", self.stage_field, 3, int)

    def pool_strides(self):
        strides = self.stage.get("pool_op_kernel_sizes")
        if strides is None:
            return None
        field = f"{self.stage_field}.pool_op_kernel_sizes"
        if not isinstance(strides, list) or not strides:
            raise ConversionError(f"{self.path}: {field}: expected a list of [d, h, w], found {strides!r:.100}")
        return [self.numbers(dict(enumerate(strides)), level, field, 3, int) for level in range(len(strides))]

    def per_channel(self, key, channels):
        """The entries of a table that has one a channel, under 0, 1, ..., or None where the plans do not have it."""
        table = self.plans.get(key)
        if table is None:
            return None
        table = dict(enumerate(table)) if isinstance(table, list) else table
        if not isinstance(table, dict) or any(channel not in table for channel in range(channels)):
            raise ConversionError(f"{self.path}: plans.{key}: expected an entry for each of {channels} channels, "
                                  f"found {table!r:.100}")
        return [table[channel] for channel in range(channels)]

    def normalization(self, channels):
        schemes = self.per_channel("normalization_schemes", channels)
        masks = self.per_channel("use_mask_for_norm", channels)
        if schemes is None or masks is None:
            return None
        properties = self.plans.get("dataset_properties")
        properties = properties.get("intensityproperties") if isinstance(properties, dict) else None
        result = []
        for channel, (scheme, mask) in enumerate(zip(schemes, masks)):
            if not isinstance(mask, bool):
                raise ConversionError(f"{self.path}: plans.use_mask_for_norm.{channel}: expected true or false, found {mask!r}")
            entry = {"scheme": scheme, "use_mask": mask}
            if scheme in ("CT", "CT2"):
                field = f"plans.dataset_properties.intensityproperties.{channel}"
                found = properties.get(channel) if isinstance(properties, dict) else None
                if not isinstance(found, dict):
                    raise ConversionError(f"{self.path}: {field}: expected for the scheme {scheme}, found none")
                keys = ["percentile_00_5", "percentile_99_5"] + (["mean", "sd"] if scheme == "CT" else [])
                for key in keys:
                    if not isinstance(found.get(key), (int, float)) or isinstance(found[key], bool):
                        raise ConversionError(f"{self.path}: {field}.{key}: expected a number, found {found.get(key)!r}")
                entry["clip"] = [found["percentile_00_5"], found["percentile_99_5"]]
                if scheme == "CT":
                    entry.update(mean=found["mean"], sd=found["sd"])
            result.append(entry)
        return result

    def largest_component(self):
        """Labels whose largest component alone is kept. The plans' older form, {label or tuple of labels: bool}."""
        value = self.plans.get("keep_only_largest_region")
        if value is None:
            return []
        if not isinstance(value, dict) or not all(isinstance(keep, bool) for keep in value.values()):
            raise ConversionError(f"{self.path}: plans.keep_only_largest_region: expected a table of true and false, "
                                  f"found {value!r:.100}")
        labels = []
        for key, keep in value.items():
            label = key[0] if isinstance(key, tuple) and len(key) == 1 else key
            if keep and (not isinstance(label, int) or label < 1):
                raise ConversionError(f"{self.path}: plans.keep_only_largest_region: expected single labels, found {key!r}; "
                                      f"give postprocessing.largest_component in --config")
            if keep:
                labels.append(label)
        return sorted(labels)

    def mirror_axes(self):
        """None where the trainer's data does not say."""
        for table in (self.trainer, self.plans, self.trainer.get("data_aug_params"), self.plans.get("data_aug_params")):
            if isinstance(table, dict) and "mirror_axes" in table:
                if not table.get("do_mirror", True):
                    return []
                axes = table["mirror_axes"]
                if not isinstance(axes, list) or any(axis not in (0, 1, 2) for axis in axes):
                    raise ConversionError(f"{self.path}: mirror_axes: expected axes among 0, 1, 2, found {axes!r}")
                return [int(axis) for axis in axes]
        # nnU-Net's trainers say in their name that they were trained without mirroring.
        return [] if "noMirroring" in str(self.trainer.get("name", "")) else None

    def classes(self):
        """Classes with the background, or None."""
        count = self.plans.get("num_classes")
        if count is not None and (not isinstance(count, int) or isinstance(count, bool)):
            raise ConversionError(f"{self.path}: plans.num_classes: expected an integer, found {count!r}")
        return None if count is None else count + 1

    def transpose_forward(self):
        return self.numbers(self.plans, "transpose_forward", "plans", 3, int)

    def spacing(self):
        return self.numbers(self.stage, "current_spacing", self.stage_field, 3, float)


def configuration_from_plans(architecture, plans):
    """What the plans add to the weights' architecture; only what they have."""
    found = {
        "patch_size": plans.patch_size(),
        "mirror_axes": plans.mirror_axes(),
        "preprocessing": {
            "spacing": plans.spacing(),
            "transpose_forward": plans.transpose_forward(),
            "normalization": plans.normalization(architecture["input_channels"]),
        },
        "postprocessing": {"largest_component": plans.largest_component()},
    }
    found["preprocessing"] = {key: value for key, value in found["preprocessing"].items() if value is not None}
    return {key: value for key, value in found.items() if value is not None}


def merge(configuration, override):
    """Lays `override` over `configuration`; the objects preprocessing, postprocessing and provenance key by key."""
    merged = dict(configuration)
    for key, value in override.items():
        if key in ("preprocessing", "postprocessing", "provenance") and isinstance(value, dict):
            merged[key] = {**merged.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def check_against_plans(configuration, plans, path):
    """The weights' shapes are facts: plans that contradict them are those of another model."""
    strides = plans.pool_strides()
    if strides is not None and strides != configuration["pool_strides"]:
        raise ConversionError(f"{plans.path}: {plans.stage_field}.pool_op_kernel_sizes: expected "
                              f"{configuration['pool_strides']}, the shapes of the weights in {path}, found {strides}")
    channels = plans.plans.get("num_modalities")
    if channels is not None and channels != configuration["input_channels"]:
        raise ConversionError(f"{plans.path}: plans.num_modalities: expected {configuration['input_channels']}, the channels "
                              f"of the weights in {path}, found {channels!r}")
    classes = plans.classes()
    if classes is not None and classes != configuration["classes"] and configuration.get("output", "softmax") == "softmax":
        raise ConversionError(f"{plans.path}: plans.num_classes: expected {configuration['classes'] - 1} and a background, the "
                              f"outputs of seg_outputs in {path}, found {classes - 1}; for a model of regions give "
                              f"output and region_order in --config")


def convert(checkpoint_path, model_path, patch=None, override=None, stage=None, override_name="--config"):
    """Converts one checkpoint; returns the Model that was written. Raises ValueError or OSError and writes nothing on a fault."""
    override = dict(override or {})
    if patch is not None:
        override["patch_size"] = list(patch)
    plans_path = os.fspath(checkpoint_path) + ".pkl"
    with Checkpoint(checkpoint_path) as checkpoint:
        weights = Weights(checkpoint)
        architecture = architecture_of(weights)
        for key in architecture:
            if key in override and override[key] != architecture[key]:
                raise ConversionError(f"{override_name}: {key}: expected {architecture[key]}, the shapes of the weights in "
                                      f"{checkpoint.path}, found {override[key]!r}")
        configuration = {**architecture, "groups": 5}
        plans = None
        if os.path.exists(plans_path):
            plans = Plans(plans_path, stage)
            configuration = merge(configuration, configuration_from_plans(architecture, plans))
        elif stage is not None:
            raise ConversionError(f"{plans_path}: expected the plans that --stage speaks of, found no file")
        configuration = merge(configuration, override)
        if plans is not None:
            check_against_plans(configuration, plans, checkpoint.path)

        source = plans.path if plans is not None else f"{plans_path} (there is no such file)"
        if "patch_size" not in configuration:
            raise ConversionError(f"{source}: patch_size: expected here, in --patch or in --config, found none")
        # A wrong guess at these would give wrong labels without a word, so they have no default here.
        for key in ("spacing", "normalization"):
            if key not in configuration.get("preprocessing", {}):
                raise ConversionError(f"{source}: preprocessing.{key}: expected here or in --config, found none")
        epoch = checkpoint.content.get("epoch")
        provenance = {"converted_from": os.path.basename(checkpoint.path)}
        if isinstance(epoch, int):
            provenance["epoch"] = epoch
        if plans is not None and isinstance(plans.trainer.get("name"), str):
            provenance["trainer"] = plans.trainer["name"]
        configuration["provenance"] = {**provenance, **configuration.get("provenance", {})}

        validate_configuration(configuration, checkpoint.path)
        model = Model(configuration, tensors_of(weights, configuration))
    write_model(model_path, model)
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------

def parse_patch(text):
    """--patch D,H,W of both converters."""
    sizes = text.split(",")
    if len(sizes) != 3 or not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected D,H,W, three sizes in voxels, found {text!r}")
    return [int(size) for size in sizes]


def read_override(path):
    with open(path, encoding="utf-8") as file:
        override = strict_json(file.read(), path, "configuration")
    if not isinstance(override, dict):
        raise ModelFileError(f"{path}: configuration: expected an object, found {override!r:.100}")
    refuse_unknown_keys(override, path)
    return override


def main(arguments=None):
    parser = argparse.ArgumentParser(description=DESCRIPTION, epilog=EPILOGUE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", metavar="CHECKPOINT.model", help="the checkpoint; CHECKPOINT.model.pkl holds its plans")
    parser.add_argument("model", metavar="MODEL.safetensors", help="the model file to write")
    parser.add_argument("--patch", metavar="D,H,W", type=parse_patch, help="patch size in voxels, instead of the plans'")
    parser.add_argument("--config", metavar="FILE.json", help="configuration keys to fill in or override")
    parser.add_argument("--stage", metavar="N", type=int, help="stage of the plans (default: the one that the trainer names, or "
                                                               "the last)")
    parser.add_argument("--quiet", action="store_true", help="print nothing when all goes well")
    options = parser.parse_args(arguments)
    try:
        override = read_override(options.config) if options.config else {}
        model = convert(options.checkpoint, options.model, options.patch, override, options.stage,
                        options.config or "--config")
    except OSError as error:
        print(f"convert_checkpoint: {error.filename or options.checkpoint}: {error.strerror or error}", file=sys.stderr)
        return 1
    except (CheckpointError, ConversionError, ModelFileError) as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 1
    if not options.quiet:
        print(summary(options.model, model))
    return 0


def summary(path, model):
    configuration = model.configuration
    layers = sparse_layer_channels(configuration)
    kept = sum(model.tensors[prefix + ".kernels"].shape[0] for prefix in layers)
    possible = sum(outputs * inputs for outputs, inputs in layers.values())
    size = os.path.getsize(path)
    return (f"{path}: {configuration['input_channels']} channels, {configuration['classes']} classes, "
            f"{len(configuration['pool_strides'])} pooling steps, base {configuration['base_features']}, "
            f"patch {'x'.join(str(s) for s in configuration['patch_size'])}, {kept / possible:.1%} of the fusion's kernels, "
            f"{size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
