"""Checkpoints become model files with the same weights; what is wrong, missing or hostile is refused and writes nothing."""

import builtins
import collections
import contextlib
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import unittest
import zipfile

import numpy as np
import torch

import support
import convert_checkpoint
from convert_checkpoint import checkpoint_prefixes, convert
from e2enet_checkpoint import Checkpoint, CheckpointError, read_plain_pickle
from e2enet_model_file import ModelFileError, possible_heads, read_model
from e2enet_reference import forward


def state_dict_of(model, heads):
    """A model's tensors under the names and in the shapes of the reference implementation."""
    levels = len(model.configuration["pool_strides"])
    parts = {"bias": "conv.bias", "norm_weight": "instnorm.weight", "norm_bias": "instnorm.bias"}
    state = collections.OrderedDict()
    prefixes = checkpoint_prefixes(levels)
    for name, tensor in model.tensors.items():
        prefix, kind = name.rsplit(".", 1)
        there = prefixes[prefix]
        if kind in parts:
            state[f"{there}.{parts[kind]}"] = tensor
        elif prefix.startswith("head"):
            state[f"{there}.weight"] = tensor[:, :, None, None, None]
        elif kind == "weight":
            state[f"{there}.conv.weight"] = tensor[:, :, None]
        elif kind == "kernels" and prefix.startswith("up"):
            state[f"{there}.weight"] = model.dense(prefix).swapaxes(0, 1)
        elif kind == "kernels":
            state[f"{there}.conv.weight"] = model.dense(prefix)[:, :, None]
    return collections.OrderedDict((name, torch.from_numpy(np.ascontiguousarray(array))) for name, array in state.items())


def plans_of(model):
    configuration = model.configuration
    channels = range(configuration["input_channels"])
    return {
        "num_modalities": len(channels),
        "num_classes": configuration["classes"] - 1,
        "normalization_schemes": collections.OrderedDict((c, "nonCT") for c in channels),
        "use_mask_for_norm": collections.OrderedDict((c, True) for c in channels),
        "dataset_properties": {"intensityproperties": None},
        "transpose_forward": [1, 0, 2],
        "keep_only_largest_region": None,
        "plans_per_stage": {
            0: {"patch_size": np.array([2, 4, 4]), "current_spacing": np.array([2.0, 2.0, 2.0]),
                "pool_op_kernel_sizes": [[1, 1, 1]]},
            1: {"patch_size": np.array(configuration["patch_size"]), "current_spacing": np.array([3.0, 0.5, 0.5]),
                "pool_op_kernel_sizes": [list(stride) for stride in configuration["pool_strides"]]},
        },
    }


class Hostile:
    """Pickles as a call of a builtin: what a malicious file would do."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Conversion(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.checkpoint = os.path.join(self.folder.name, "fold.model")
        self.plans = self.checkpoint + ".pkl"
        self.output = os.path.join(self.folder.name, "network.safetensors")

    def save(self, model, plans=None, trainer=None, change=None, heads=(0,)):
        state = state_dict_of(model, heads)
        if change:
            change(state)
        # The trainer saves numpy numbers and an optimizer's state along with the weights.
        torch.save({"epoch": 12, "state_dict": state, "plot_stuff": ([np.float64(-0.5)], [], [], []),
                    "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}},
                   self.checkpoint)
        self.save_plans(plans if plans is not None else plans_of(model), trainer)

    def save_plans(self, plans, trainer=None):
        with open(self.plans, "wb") as file:
            pickle.dump(collections.OrderedDict(init=("plans", 0, "out", "data", True, 1), name="nnUNetTrainer_simple",
                                                plans=plans, **(trainer or {})), file)

    def refused(self, *words, **arguments):
        with self.assertRaises((CheckpointError, convert_checkpoint.ConversionError, ModelFileError)) as caught:
            convert(self.checkpoint, self.output, **arguments)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertFalse(os.path.exists(self.output))

    def assert_same(self, found, model):
        self.assertEqual(set(found.tensors), set(model.tensors))
        for name, tensor in model.tensors.items():
            np.testing.assert_array_equal(found.tensors[name], tensor, err_msg=name)

    def test_any_number_of_pooling_steps_and_any_strides(self):
        for model in (
                support.random_model(pool_strides=[[1, 2, 2]], patch_size=[4, 8, 8], heads=(1,)),
                support.random_model(pool_strides=[[2, 2, 2]] * 3, patch_size=[8, 8, 8], heads=(1, 2), max_features=12),
                support.random_model(pool_strides=[[3, 1, 2], [1, 3, 1]], patch_size=[6, 6, 6], input_channels=3),
                support.random_model(pool_strides=[[1, 1, 2]] * 6, patch_size=[1, 2, 64], base_features=2, heads=(1, 2, 3)),
        ):
            with self.subTest(strides=model.configuration["pool_strides"]):
                self.save(model)
                self.assert_same(convert(self.checkpoint, self.output), model)
                found = read_model(self.output)
                self.assert_same(found, model)
                for key in ("input_channels", "classes", "base_features", "pool_strides", "patch_size"):
                    self.assertEqual(found.configuration[key], model.configuration[key], key)

    def test_the_plans_say_how_images_are_prepared(self):
        model = support.random_model(input_channels=2)
        plans = plans_of(model)
        plans["normalization_schemes"] = {0: "CT", 1: "CT2"}
        plans["use_mask_for_norm"] = {0: False, 1: np.bool_(True)}
        plans["dataset_properties"]["intensityproperties"] = {
            channel: {"mean": np.float32(49.25), "sd": np.float32(141.5), "percentile_00_5": np.float64(-958),
                      "percentile_99_5": np.float64(362)} for channel in (0, 1)}
        plans["keep_only_largest_region"] = {1: False, 2: True}
        self.save(model, plans, {"data_aug_params": {"mirror_axes": (0, 2)}})
        configuration = convert(self.checkpoint, self.output).configuration
        self.assertEqual(configuration["preprocessing"], {
            "spacing": [3, 0.5, 0.5],
            "transpose_forward": [1, 0, 2],
            "normalization": [
                {"scheme": "CT", "use_mask": False, "clip": [-958, 362], "mean": 49.25, "sd": 141.5},
                {"scheme": "CT2", "use_mask": True, "clip": [-958, 362]}],
        })
        self.assertEqual(configuration["postprocessing"], {"largest_component": [2]})
        self.assertEqual(configuration["mirror_axes"], [0, 2])
        self.assertEqual(configuration["groups"], 5)
        self.assertEqual(configuration["provenance"],
                         {"converted_from": "fold.model", "epoch": 12, "trainer": "nnUNetTrainer_simple"})

    def test_the_stage_is_the_trainers_or_the_given_one(self):
        model = support.random_model(pool_strides=[[1, 1, 1]], patch_size=[2, 4, 4])
        plans = plans_of(model)
        plans["plans_per_stage"][1]["patch_size"] = np.array([4, 4, 4])
        self.save(model, plans)
        self.assertEqual(convert(self.checkpoint, self.output).configuration["patch_size"], [4, 4, 4])
        self.assertEqual(convert(self.checkpoint, self.output, stage=0).configuration["patch_size"], [2, 4, 4])
        os.remove(self.output)
        self.refused("stage 2", stage=2)

    def test_a_configuration_fills_in_and_overrides(self):
        model = support.random_model()
        self.save(model)
        override = {"labels": {"0": "background", "2": "liver"}, "preprocessing": {"orientation": "RAS"}, "groups": 3,
                    "provenance": {"licence": "none"}}
        configuration = convert(self.checkpoint, self.output, [8, 16, 16], override).configuration
        self.assertEqual(configuration["patch_size"], [8, 16, 16])
        self.assertEqual(configuration["preprocessing"]["orientation"], "RAS")
        self.assertEqual(configuration["preprocessing"]["spacing"], [3, 0.5, 0.5])
        self.assertEqual(configuration["labels"]["2"], "liver")
        self.assertEqual(configuration["groups"], 3)
        self.assertEqual(configuration["provenance"]["epoch"], 12)

    def test_without_plans_everything_must_be_given(self):
        self.save(support.random_model())
        os.remove(self.plans)
        self.refused("patch_size", self.plans)
        self.refused("preprocessing.spacing", patch=[4, 8, 8])
        self.refused("preprocessing.normalization", patch=[4, 8, 8], override={"preprocessing": {"spacing": None}})
        self.refused("--stage", patch=[4, 8, 8], stage=0)
        override = {"preprocessing": {"spacing": None, "normalization": [{"scheme": "noNorm"}]}}
        self.assertEqual(convert(self.checkpoint, self.output, [4, 8, 8], override).configuration["pool_strides"],
                         [[1, 2, 2], [2, 2, 2]])

    def test_names_of_a_parallel_or_compiled_model_are_understood(self):
        model = support.random_model()
        renamed = {"parallel": lambda name: "module." + name,
                   "compiled": lambda name: "_orig_mod." + name,
                   "compiled, then parallel": lambda name: "module._orig_mod." + name,
                   "parallel, then compiled": lambda name: "_orig_mod.module." + name,
                   "a part compiled": lambda name: name.replace("conv_blocks_context.", "conv_blocks_context._orig_mod.")}
        for kind, new_name in renamed.items():
            def change(state, new_name=new_name):
                for name in list(state):
                    state[new_name(name)] = state.pop(name)

            with self.subTest(kind):
                self.save(model, change=change)
                self.assert_same(convert(self.checkpoint, self.output), model)
                os.remove(self.output)

        def twice(state):
            name = next(iter(state))
            state["_orig_mod." + name] = state[name]

        self.save(model, change=twice)
        self.refused("_orig_mod.", "expected one tensor", "found two")

    def test_half_precision_double_and_strided_tensors_are_read(self):
        model = support.random_model()

        def change(state):
            for number, (name, tensor) in enumerate(state.items()):
                kind = (torch.bfloat16, torch.float64, torch.float32)[number % 3]
                tensor = tensor.bfloat16().to(kind)
                state[name] = tensor.transpose(0, 1).contiguous().transpose(0, 1) if tensor.dim() > 1 else tensor

        self.save(model, change=change)
        found = convert(self.checkpoint, self.output)
        for name, tensor in model.tensors.items():
            expected = torch.from_numpy(tensor).bfloat16().float().numpy() if tensor.dtype == np.float32 else tensor
            np.testing.assert_array_equal(found.tensors[name], expected, err_msg=name)

    def test_a_region_model_needs_its_output_said(self):
        model = support.random_model()
        plans = plans_of(model)
        plans["num_classes"] = 3
        self.save(model, plans)
        self.refused("plans.num_classes", "seg_outputs")
        override = {"output": "sigmoid", "region_order": [1, 2, 3]}
        self.assertEqual(convert(self.checkpoint, self.output, override=override).configuration["output"], "sigmoid")

    def test_wrong_weights_are_refused(self):
        name = "loc0.1.0.blocks.0.conv.weight"
        for change, words in [
            (lambda s: s.pop(name), [name]),
            (lambda s: s.update({name: s[name][:, :-1]}), [name, "shape"]),
            (lambda s: s.update({name: torch.full_like(s[name], float("nan"))}), [name, "finite"]),
            (lambda s: s.update({name: s[name].double() * 1e300}), [name, "finite"]),
            (lambda s: s.update({name: s[name].long()}), [name, "LongStorage"]),
            (lambda s: s.update({name: 5}), [name, "tensor"]),
            (lambda s: s.update(running_mean=torch.ones(3)), ["running_mean"]),
            (lambda s: s.update({"up0.0.weight": s["up0.0.weight"][..., 0]}), ["up0.0.weight"]),
            (lambda s: s.update({"conv_blocks_context.1.blocks.0.conv.weight": torch.ones(7, 4, 1, 3, 3)}), ["features"]),
            (lambda s: s.clear(), ["state_dict"]),
            (lambda s: [s.pop(n) for n in list(s) if n.startswith("conv_")], ["conv_blocks_context"]),
        ]:
            self.save(support.random_model(), change=change)
            with self.subTest(words=words):
                self.refused(self.checkpoint, *words)

    def test_wrong_plans_are_refused(self):
        model = support.random_model()
        for change, words in [
            (lambda p: p["plans_per_stage"][1].update(pool_op_kernel_sizes=[[2, 2, 2]] * 2), ["pool_op_kernel_sizes"]),
            (lambda p: p["plans_per_stage"][1].update(patch_size=[4, 8]), ["patch_size"]),
            (lambda p: p["plans_per_stage"][1].update(patch_size=[4, 8, 8.5]), ["patch_size"]),
            (lambda p: p["plans_per_stage"][1].update(patch_size=[4, 8, float("inf")]), ["patch_size"]),
            (lambda p: p["plans_per_stage"][1].update(patch_size=[4, 8, 6]), ["patch_size[2]"]),
            (lambda p: p["plans_per_stage"][1].update(current_spacing=[1, 1, -1]), ["spacing"]),
            (lambda p: p.update(num_modalities=2), ["num_modalities"]),
            (lambda p: p.update(num_classes="2"), ["num_classes"]),
            (lambda p: p.update(transpose_forward=[0, 1, 1]), ["transpose_forward"]),
            (lambda p: p.update(normalization_schemes={0: "CT"}), ["intensityproperties.0"]),
            (lambda p: p.update(normalization_schemes={0: "MR"}), ["scheme"]),
            (lambda p: p.update(normalization_schemes={1: "nonCT"}), ["normalization_schemes"]),
            (lambda p: p.update(use_mask_for_norm={0: "no"}), ["use_mask_for_norm"]),
            (lambda p: p.update(keep_only_largest_region={(1, 2): True}), ["keep_only_largest_region"]),
            (lambda p: p.update(plans_per_stage={}), ["plans_per_stage"]),
        ]:
            plans = plans_of(model)
            change(plans)
            self.save(model, plans)
            with self.subTest(words=words):
                self.refused(*words)
        with open(self.plans, "wb") as file:
            pickle.dump([1], file)
        self.refused(self.plans, "plans")

    def test_files_that_are_no_checkpoint_are_refused(self):
        model = support.random_model()
        self.save(model)
        with open(self.checkpoint, "rb") as file:
            content = file.read()
        legacy = io.BytesIO()
        torch.save({"state_dict": {}}, legacy, _use_new_zipfile_serialization=False)
        for data, word in [(b"", "zip"), (b"\0" * 100, "zip"), (gzip.compress(content), "gunzip"),
                           (legacy.getvalue(), "older pickle format"), (content[:len(content) // 2], "zip")]:
            with open(self.checkpoint, "wb") as file:
                file.write(data)
            with self.subTest(word=word):
                self.refused(self.checkpoint, word)
        # A member that is damaged, compressed or missing.
        for change, word in [(lambda name, data: (name, data[:-4], zipfile.ZIP_STORED), "bytes"),
                             (lambda name, data: (name, data, zipfile.ZIP_DEFLATED), "compressed"),
                             (lambda name, data: (name + "x", data, zipfile.ZIP_STORED), "data/0")]:
            with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(self.checkpoint, "w") as new:
                for name in old.namelist():
                    member = (name, old.read(name), zipfile.ZIP_STORED)
                    member = change(*member[:2]) if name.endswith("/data/0") else member
                    new.writestr(*member[:2], compress_type=member[2])
            with self.subTest(word=word):
                self.refused(self.checkpoint, word)
        # Bits turned over anywhere: refused or, where they hit padding, converted, but never another exception.
        generator = np.random.default_rng(4)
        for _ in range(60):
            damaged = bytearray(content)
            for position in generator.integers(0, len(content), 3):
                damaged[position] ^= 1 << int(generator.integers(8))
            with open(self.checkpoint, "wb") as file:
                file.write(damaged)
            with contextlib.suppress(CheckpointError, convert_checkpoint.ConversionError, ModelFileError):
                convert(self.checkpoint, self.output)

    def test_pickles_cannot_run_code(self):
        trap = os.path.join(self.folder.name, "trap")
        model = support.random_model()
        for hostile, name in [(Hostile(os.system, f"touch {trap}"), "system"), (Hostile(eval, "1"), "eval"),
                              (Hostile(exec, "1"), "exec"), (Hostile(open, trap, "w"), "open"),
                              (Hostile(getattr, "", "join"), "getattr"), (Hostile(builtins.__import__, "os"), "__import__"),
                              (Hostile(torch.load, trap), "torch"), (Hostile(np.load, trap), "load"),
                              (collections.Counter(), "Counter"), (np.random.default_rng, "default_rng")]:
            for place in ("plans", "checkpoint"):
                with self.subTest(name=name, place=place):
                    self.save(model)
                    if place == "plans":
                        self.save_plans({**plans_of(model), "more": hostile})
                    else:
                        torch.save({"state_dict": {}, "more": hostile}, self.checkpoint)
                    self.refused("refused", name)
                    self.assertFalse(os.path.exists(trap))

    def test_pickles_cannot_misuse_the_permitted_types(self):
        reconstruct, kind = np.core.multiarray._reconstruct, np.dtype("f8")
        scalar = np.core.multiarray.scalar

        class Array:
            def __init__(self, state):
                self.state = state

            def __reduce__(self):
                return reconstruct, (np.ndarray, (0,), b"b"), self.state

        for content in (Array((1, (4,), kind, False, b"short")), Array((1, (2**60,), kind, False, b"")),
                        Array((1, (-1,), kind, False, b"")), Array((1, (1,), np.dtype("O"), False, b"12345678")),
                        Array((1, (1,), 5, False, b"12345678")), Array(3), Hostile(scalar, kind, b"1234"),
                        Hostile(scalar, np.dtype("O"), b"12345678"), Hostile(np.dtype, "V8"),
                        Hostile(np.dtype, [("a", "f8")]), np.zeros(1, [("a", "f8")])):
            with open(self.plans, "wb") as file:
                pickle.dump(content, file)
            with self.subTest(content=repr(content)[:60]), self.assertRaises(CheckpointError):
                read_plain_pickle(self.plans)

        class Tensor:
            def __init__(self, *arguments):
                self.arguments = arguments

            def __reduce__(self):
                return torch._utils._rebuild_tensor_v2, self.arguments

        storage = torch.ones(4)._storage()
        for arguments in ((storage, 0, (5,), (1,)), (storage, 3, (2,), (1,)), (storage, 0, (2**40,), (0,)),
                          (storage, -1, (1,), (1,)), (storage, 0, (2,), (-1,)), (storage, 0, (2, 2), (1,)),
                          ("x", 0, (1,), (1,)), (storage, 0, (2, 3), (3, 1))):
            with self.subTest(arguments=str(arguments[1:])), self.assertRaises(CheckpointError):
                torch.save({"tensor": Tensor(*arguments, False, collections.OrderedDict())}, self.checkpoint)
                with Checkpoint(self.checkpoint) as checkpoint:
                    checkpoint.array(checkpoint.content["tensor"], "tensor")

    def test_pickles_of_every_protocol_and_of_newer_numpy_are_read(self):
        content = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(2.5), "c": np.array(["x", "yz"]), "d": (1, None, True),
                   "e": np.asfortranarray(np.arange(6).reshape(2, 3)), "f": np.array([1, "x"], dtype=object), "g": b"12",
                   "h": np.arange(3, dtype=">i2")}
        expected = {"a": [[0, 1, 2], [3, 4, 5]], "b": 2.5, "c": ["x", "yz"], "d": [1, None, True],
                    "e": [[0, 1, 2], [3, 4, 5]], "f": [1, "x"], "g": b"12", "h": [0, 1, 2]}
        for protocol in range(5):
            data = pickle.dumps(content, protocol)
            for text in (data, data.replace(b"numpy.core.multiarray", b"numpy._core.multiarray") if protocol < 4 else data):
                with open(self.plans, "wb") as file:
                    file.write(text)
                with self.subTest(protocol=protocol):
                    self.assertEqual(read_plain_pickle(self.plans), expected)

    def test_the_program_says_what_is_wrong_and_exits_accordingly(self):
        program = os.path.join(support.ROOT, "python", "convert_checkpoint.py")

        def run(*arguments):
            return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)

        self.save(support.random_model())
        config = os.path.join(self.folder.name, "more.json")
        for arguments in ((), (self.checkpoint,), (self.checkpoint, self.output, "--patch", "1,2"),
                          (self.checkpoint, self.output, "--patch", "0,8,8"), ("--unknown",)):
            self.assertEqual(run(*arguments).returncode, 2, arguments)
        for text in ('{"pach_size": [4, 8, 8]}', '{"preprocessing": {"orientatoin": "RAS"}}', "[1]", "{", '{"classes": 9}'):
            with open(config, "w", encoding="utf-8") as file:
                file.write(text)
            found = run(self.checkpoint, self.output, "--config", config)
            self.assertEqual((found.returncode, found.stdout), (1, ""), text)
            self.assertEqual(found.stderr.count("\n"), 1, found.stderr)
            self.assertIn(config, found.stderr)
        for arguments in (("missing.model", self.output), (self.checkpoint, os.path.join(self.folder.name, "no", "x"))):
            found = run(*arguments)
            self.assertEqual((found.returncode, found.stderr.count("\n")), (1, 1), found.stderr)
        self.assertFalse(os.path.exists(self.output))
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"labels": {"0": "background", "1": "liver"}}, file)
        found = run(self.checkpoint, self.output, "--config", config, "--patch", "4,16,8")
        self.assertEqual((found.returncode, found.stderr), (0, ""))
        self.assertEqual(read_model(self.output).configuration["patch_size"], [4, 16, 8])
        self.assertIn("Exit codes", run("--help").stdout)


class GoldenNetworks(unittest.TestCase):
    def test_the_reference_network_computes_the_true_logits(self):
        for name, tolerance in (("A", 1e-4), ("B", 5e-4)):
            with self.subTest(name=name):
                model = read_model(os.path.join(support.NETWORKS, f"net_{name}.safetensors"))
                patch, truth, node = (support.load(os.path.join(support.NETWORKS, f"net_{name}_{part}.npy.gz"))[0]
                                      for part in ("input", "logits_from_f64", "node_x2_3"))
                logits, nodes, _ = forward(model, patch, nodes=True)
                np.testing.assert_allclose(logits, truth, rtol=0, atol=tolerance)
                np.testing.assert_allclose(nodes[2, 3], node, rtol=0, atol=tolerance)

    @unittest.skipUnless(os.path.isdir(support.GOLDEN), support.NEEDS_GOLDEN)
    def test_the_golden_checkpoints_convert_to_the_stored_networks(self):
        for name in "ABD":
            with self.subTest(name=name), tempfile.TemporaryDirectory() as folder:
                source = os.path.join(support.GOLDEN, f"net_{name}", "fold_0", "shiftConvPP_model_final_checkpoint.model")
                checkpoint = os.path.join(folder, "net.model")
                with gzip.open(source + ".gz") as packed, open(checkpoint, "wb") as file:
                    file.write(packed.read())
                with open(source + ".pkl", "rb") as plans, open(checkpoint + ".pkl", "wb") as file:
                    file.write(plans.read())
                found = convert(checkpoint, os.path.join(folder, "net.safetensors"))
                stored = read_model(os.path.join(support.NETWORKS, f"net_{name}.safetensors"))
                for part, tensor in stored.tensors.items():
                    np.testing.assert_array_equal(found.tensors[part], tensor, err_msg=part)
                self.assertEqual(found.configuration["preprocessing"], stored.configuration["preprocessing"])

    @unittest.skipUnless(os.path.isdir(support.GOLDEN), support.NEEDS_GOLDEN)
    def test_the_networks_regenerate_from_their_seeds(self):
        from golden_network import network
        for name in "ABD":
            with self.subTest(name=name):
                with open(os.path.join(support.GOLDEN, f"net_{name}", "meta.json"), encoding="utf-8") as file:
                    found = network(json.load(file))
                stored = read_model(os.path.join(support.NETWORKS, f"net_{name}.safetensors"))
                self.assertEqual(set(found.tensors), set(stored.tensors))
                for part, tensor in stored.tensors.items():
                    np.testing.assert_array_equal(found.tensors[part], tensor, err_msg=part)

    @unittest.skipUnless(os.path.isdir(support.GOLDEN), support.NEEDS_GOLDEN)
    def test_the_full_size_network_regenerates_with_its_outputs(self):
        from golden_network import network
        folder = os.path.join(support.GOLDEN, "net_C")
        with open(os.path.join(folder, "meta.json"), encoding="utf-8") as file:
            model = network(json.load(file))
        self.assertEqual(list(possible_heads(5)), [0, 1, 2, 3])
        logits, nodes, _ = forward(model, support.load(os.path.join(folder, "input.npy.gz"))[0], nodes=True)
        for found, name in ((logits, "logits"), (nodes[2, 3], "node_x2_3"), (nodes[3, 1], "node_x3_1")):
            truth = support.load(os.path.join(folder, name + ".npy.gz"))[0]
            np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4, err_msg=name)


if __name__ == "__main__":
    unittest.main()
