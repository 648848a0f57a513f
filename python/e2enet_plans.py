"""What nnU-Net v1's plans say of a model, as keys of its configuration (docs/model-file.md)."""

import os

import numpy as np

from e2enet_checkpoint import ConversionError, read_plain_pickle


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
