"""Both ONNX forms compute the network, by an interpreter of the few operators that they use."""

import collections
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import torch
import torch.nn.functional as functional

import support
from e2enet_model_file import ModelFileError, read_model, write_model
from e2enet_reference import forward
from export_onnx import export


def fields(message):
    """{number: [values]} of a protocol buffer message; nested messages stay bytes."""
    found = collections.defaultdict(list)
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value - 2**64 if value >= 2**63 else value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            found[key >> 3].append(varint())
        elif key & 7 == 5:
            found[key >> 3].append(struct.unpack("<f", message[position:position + 4])[0])
            position += 4
        else:
            length = varint()
            assert key & 7 == 2 and position + length <= len(message)
            found[key >> 3].append(message[position:position + length])
            position += length
    return found


def attribute(message):
    kind = fields(message)
    value = {1: kind[2], 2: kind[3], 7: kind[8]}[kind[20][0]]
    return kind[1][0].decode(), value if kind[20][0] == 7 else value[0]


def array(message):
    tensor = fields(message)
    data = np.frombuffer(tensor[9][0], {1: "<f4", 7: "<i8"}[tensor[2][0]]).reshape(tensor[1])
    return tensor[8][0].decode(), torch.from_numpy(data.copy())


def convolve(function_of_dimensions):
    def run(x, weight, bias=None, *, kernel_shape, strides=None, pads=None):
        assert list(weight.shape[2:]) == kernel_shape
        n = len(kernel_shape)
        pads = pads or [0] * 2 * n
        assert pads[:n] == pads[n:]
        return function_of_dimensions[n](x, weight, bias, stride=strides or [1] * n, padding=pads[:n])
    return run


def pad(x, pads):
    n = x.dim()
    return functional.pad(x, [int(pads[axis + side * n]) for axis in reversed(range(n)) for side in (0, 1)])


def part(x, starts, ends, axes):
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        x = x.narrow(axis, start, end - start)
    return x


OPERATORS = {
    "Add": torch.add,
    "BatchNormalization": lambda x, w, b, mean, var, epsilon: functional.batch_norm(x, mean, var, w, b, eps=epsilon),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": convolve({2: functional.conv2d, 3: functional.conv3d}),
    "ConvTranspose": convolve({2: functional.conv_transpose2d, 3: functional.conv_transpose3d}),
    "Gather": lambda x, index, axis: x.index_select(axis, index),
    "LeakyRelu": lambda x, alpha: functional.leaky_relu(x, alpha),
    "MaxPool": lambda x, kernel_shape, strides: {2: functional.max_pool2d, 3: functional.max_pool3d}[len(strides)](
        x, kernel_shape, strides),
    "Mul": torch.mul,
    "Pad": pad,
    "ReduceMax": lambda x, axes, keepdims: x.amax(axes, bool(keepdims)),
    "ReduceMean": lambda x, axes, keepdims: x.mean(axes, bool(keepdims)),
    "Relu": functional.relu,
    "Reshape": lambda x, shape: x.reshape(shape.tolist()),
    "Slice": part,
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(perm),
}


def run(path, x):
    """Output of the graph, its operators' names, and its declared input and output shapes."""
    with open(path, "rb") as file:
        model = fields(file.read())
    assert fields(model[8][0])[2] == [13]
    graph = fields(model[7][0])
    values = dict(array(message) for message in graph[5])
    declared = {}
    for message in graph[11] + graph[12]:
        value = fields(message)
        tensor = fields(fields(value[2][0])[1][0])
        declared[value[1][0].decode()] = [fields(size)[1][0] for size in fields(tensor[2][0])[1]]
    values["x"] = torch.from_numpy(x[None])
    used = set()
    for message in graph[1]:
        node = fields(message)
        inputs = [values[name.decode()] for name in node[1]]
        operator = node[4][0].decode()
        used.add(operator)
        name = node[2][0].decode()
        assert name not in values, name
        values[name] = OPERATORS[operator](*inputs, **dict(attribute(a) for a in node[5]))
    return values["y"].numpy(), used, declared


class Export(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "network.onnx")

    def test_both_forms_compute_the_network(self):
        for number, architecture in enumerate([
                {},
                {"input_channels": 3, "pool_strides": [[3, 2, 2], [1, 3, 2]], "patch_size": [6, 12, 12], "groups": 3},
                {"base_features": 1, "pool_strides": [[1, 1, 2]], "patch_size": [1, 5, 4], "groups": 11, "classes": 1},
                {"pool_strides": [[2, 2, 2]] * 3, "patch_size": [8, 16, 24], "base_features": 7, "max_features": 10},
        ]):
            model = support.random_model(number, **architecture)
            shape = (model.configuration["input_channels"], *model.configuration["patch_size"])
            x = np.random.default_rng(9).standard_normal(shape).astype(np.float32)
            truth = forward(model, x, dtype=torch.float64)
            for form in ("2d", "3d"):
                with self.subTest(number=number, form=form):
                    export(model, self.path, form)
                    y, used, declared = run(self.path, x)
                    self.assertEqual(declared, {"x": [1, *shape], "y": [1, *truth.shape]})
                    self.assertEqual(list(y.shape), declared["y"])
                    np.testing.assert_allclose(y[0], truth, rtol=0, atol=1e-4)
                    self.assertEqual("Gather" in used, form == "2d")

    def test_the_stored_networks_give_the_true_logits(self):
        for name, form, tolerance in (("A", "2d", 1e-4), ("A", "3d", 1e-4), ("B", "2d", 5e-4)):
            with self.subTest(name=name, form=form):
                export(read_model(os.path.join(support.NETWORKS, f"net_{name}.safetensors")), self.path, form)
                patch, truth = (support.load(os.path.join(support.NETWORKS, f"net_{name}_{part}.npy.gz"))
                                for part in ("input", "logits_from_f64"))
                np.testing.assert_allclose(run(self.path, patch[0])[0], truth, rtol=0, atol=tolerance)

    def test_another_patch_size_and_one_that_does_not_fit(self):
        model = support.random_model()
        export(model, self.path, "2d", [2, 16, 4])
        self.assertEqual(run(self.path, np.ones((1, 2, 16, 4), np.float32))[0].shape, (1, 3, 2, 16, 4))
        os.remove(self.path)
        for patch in ([3, 16, 4], [2, 0, 4], [2, 16, 6]):
            with self.subTest(patch=patch), self.assertRaises(ModelFileError):
                export(model, self.path, "2d", patch)
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_the_program_says_what_is_wrong_and_exits_accordingly(self):
        program = os.path.join(support.ROOT, "python", "export_onnx.py")
        model = os.path.join(self.folder.name, "network.safetensors")
        write_model(model, support.random_model())

        def call(*arguments):
            return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)

        for arguments in ((), (model,), (model, self.path, "--form", "4d"), (model, self.path, "--patch", "a,b,c")):
            self.assertEqual(call(*arguments).returncode, 2, arguments)
        for arguments in ((self.path, self.path), (program, self.path), (model, self.path, "--patch", "1,1,1"),
                          (model, os.path.join(self.folder.name, "no", "x"))):
            found = call(*arguments)
            self.assertEqual((found.returncode, found.stderr.count("\n"), found.stdout), (1, 1, ""), found.stderr)
            self.assertFalse(os.path.exists(self.path))
        found = call(model, self.path, "--form", "3d")
        self.assertEqual((found.returncode, found.stderr), (0, ""))
        self.assertTrue(os.path.exists(self.path))
        self.assertIn("Exit codes", call("--help").stdout)


if __name__ == "__main__":
    unittest.main()
