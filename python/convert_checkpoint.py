#!/usr/bin/env python3
"""Converts a checkpoint of the reference E2ENet implementation to e2enet's model file."""

import argparse
import os
import sys

from e2enet_checkpoint import Checkpoint, CheckpointError, ConversionError
from e2enet_checkpoint_weights import Weights, architecture_of, checkpoint_prefixes, tensors_of  # noqa: F401
from e2enet_model_file import (Model, ModelFileError, refuse_unknown_keys, sparse_layer_channels, strict_json,
                               validate_configuration, write_model)
from e2enet_plans import Plans, configuration_from_plans

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
