#!/usr/bin/env python3
"""Writes a model file as an ONNX graph, for use in other runtimes."""

import argparse
import hashlib
import math
import os
import struct
import sys

import numpy as np

from convert_checkpoint import parse_patch
from e2enet_model_file import (DEFAULT_GROUPS, ModelFileError, blocks_of_node, features_per_level, fusion_nodes, read_model,
                               replacing)

DESCRIPTION = """\
Writes a model file as an ONNX graph (operator set 13) that any ONNX runtime can run. The graph is dense: a pruned kernel is
stored and multiplied as zeros, since ONNX has no operator for kept kernels. Input `x` is (1, channels, D, H, W), output `y`
(1, classes, D, H, W), both float32: logits, before softmax. The patch size is fixed in the graph."""

EPILOGUE = """\
Forms (the same numbers up to rounding):
  2d   depth slices are a batch of 2D images, which runtimes compute fastest; the default
  3d   convolutions with 1x3x3 kernels on volumes: the network as the paper draws it

Exit codes: 0 done; 1 the file cannot be exported; 2 the call was wrong."""

OPERATOR_SET = 13
IR_VERSION = 7
LARGEST_MESSAGE = 2**31 - 1  # a protocol buffer's limit, and with it an ONNX file's
EPSILON = 1e-5
SLOPE = 0.01


# ---------------------------------------------------------------------------------------------------------------------
# Protocol buffers. An ONNX file is one message of nested fields; writing them takes three wire types, so this needs no
# package beyond numpy (Debian's python3-onnx would bring a compiler of its own for the sake of these forty lines).
# ---------------------------------------------------------------------------------------------------------------------

def _varint(value):
    value &= 2**64 - 1
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)


def _integer(field, value):
    return _varint(field << 3) + _varint(value)


def _float(field, value):
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field, value):
    value = value.encode("utf-8") if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _tensor(name, array):
    kind = {np.dtype("float32"): 1, np.dtype("int64"): 7}[array.dtype]
    dimensions = b"".join(_integer(1, size) for size in array.shape)
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return dimensions + _integer(2, kind) + _bytes(8, name) + _bytes(9, data)


def _attribute(name, value):
    if isinstance(value, float):
        return _bytes(1, name) + _float(2, value) + _integer(20, 1)
    if isinstance(value, int):
        return _bytes(1, name) + _integer(3, value) + _integer(20, 2)
    return _bytes(1, name) + b"".join(_integer(8, item) for item in value) + _integer(20, 7)


def _value(name, shape):
    dimensions = b"".join(_bytes(1, _integer(1, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _integer(1, 1) + _bytes(2, dimensions)))


class Graph:
    """Nodes and constants of an ONNX graph, in the order in which they are added."""

    def __init__(self):
        self._nodes = []
        self._initializers = {}

    def constant(self, array, name=None):
        """A stored array; without a name it is stored once, however often it is asked for."""
        name = name or f"constant_{array.dtype}_{array.shape}_{hashlib.sha256(array.tobytes()).hexdigest()}"
        if name not in self._initializers:
            self._initializers[name] = _tensor(name, array)
        return name

    def integers(self, *values):
        return self.constant(np.array(values, np.int64))

    def node(self, operator, inputs, output=None, **attributes):
        """Adds an operator and returns the name of its output."""
        output = output or f"{operator}_{len(self._nodes)}"
        fields = [_bytes(1, name) for name in inputs]
        fields += [_bytes(2, output), _bytes(3, output + "_node"), _bytes(4, operator)]
        fields += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(fields))
        return output

    def message(self, inputs, outputs, name, metadata):
        graph = [_bytes(1, node) for node in self._nodes]
        graph.append(_bytes(2, name))
        graph += [_bytes(5, tensor) for tensor in self._initializers.values()]
        graph += [_bytes(11, _value(*value)) for value in inputs] + [_bytes(12, _value(*value)) for value in outputs]
        model = _integer(1, IR_VERSION) + _bytes(2, "e2enet") + _bytes(7, b"".join(graph))
        model += _bytes(8, _bytes(1, "") + _integer(2, OPERATOR_SET))
        return model + b"".join(_bytes(14, _bytes(1, key) + _bytes(2, value)) for key, value in metadata.items())


# ---------------------------------------------------------------------------------------------------------------------
# The network as a graph
# ---------------------------------------------------------------------------------------------------------------------

class FeatureMap:
    """A value of the graph: channels x (D, H, W) voxels, laid out as the form says."""

    def __init__(self, name, channels, extent):
        self.name = name
        self.channels = channels
        self.extent = tuple(extent)


def chunk_shifts(channels, groups):
    """(first channel, one past the last, shift) of each chunk: y[c, d] = x[c, d - shift]."""
    size = -(-channels // groups)
    return [(first, min(first + size, channels), k - groups // 2) for k, first in enumerate(range(0, channels, size))]


class Form:
    """What the forms share: the walk over the network's nodes, weights and the instance norm."""

    def __init__(self, model, patch):
        self.graph = Graph()
        self.model = model
        self.configuration = model.configuration
        self.patch = tuple(patch)
        self.groups = self.configuration.get("groups", DEFAULT_GROUPS)

    def build(self):
        """The whole file's bytes."""
        strides = self.configuration["pool_strides"]
        levels = len(strides)
        features = features_per_level(self.configuration)
        x = {}
        y = self.input(FeatureMap("x", self.configuration["input_channels"], self.patch))
        for i in range(levels + 1):
            y = self.block([y], f"backbone.{i}.0", features[i], strides[i - 1] if i else (1, 1, 1))
            y = x[i, 0] = self.block([y], f"backbone.{i}.1", features[i])
        for i, j in fusion_nodes(levels):
            parts = [x[i, j - 1], self.up(x[i + 1, j - 1], f"up.{i}.{j}", features[i], strides[i])]
            if i > 0:
                parts.append(self.down(x[i - 1, j - 1], strides[i - 1]))
            for b in range(blocks_of_node(levels, i, j)):
                parts = [self.block(parts, f"fusion.{i}.{j}.{b}", features[i])]
            x[i, j] = parts[0]
        self.output(x[0, levels], self.model.tensors["head.0.weight"])
        inputs = [("x", (1, self.configuration["input_channels"], *self.patch))]
        outputs = [("y", (1, self.configuration["classes"], *self.patch))]
        return self.graph.message(inputs, outputs, "e2enet", {"form": self.name, "groups": str(self.groups)})

    def weight(self, prefix):
        return self.model.tensors[prefix + ".weight"] if prefix.startswith("backbone") else self.model.dense(prefix)

    def parameter(self, prefix, part):
        name = f"{prefix}.{part}"
        return self.graph.constant(self.model.tensors[name], name)

    def normalised(self, name, prefix):
        """Instance norm over everything but the channels (the second axis), and leaky ReLU.

        Not by InstanceNormalization: it cannot take its statistics over a batch of slices, and ONNX Runtime 1.30 adds tens of
        thousands of float32 values one after the other in it (logits of the test networks then err by 8e-4 instead of 3e-5).
        So the statistics are means of each slice's mean, given to a BatchNormalization, which takes no longer.
        """
        graph = self.graph

        def mean_of(values):
            rows = graph.node("ReduceMean", [values], axes=(-2, -1), keepdims=1)
            return graph.node("ReduceMean", [rows], axes=self.all_but_channels, keepdims=0)

        mean = mean_of(name)
        mean_square = mean_of(graph.node("Mul", [name, name]))
        # Relu: rounding can bring the variance of a constant channel below zero.
        variance = graph.node("Relu", [graph.node("Sub", [mean_square, graph.node("Mul", [mean, mean])])])
        scale, bias = self.parameter(prefix, "norm_weight"), self.parameter(prefix, "norm_bias")
        name = graph.node("BatchNormalization", [name, scale, bias, mean, variance], epsilon=EPSILON)
        return graph.node("LeakyRelu", [name], alpha=SLOPE)

    def reshape(self, name, *shape, output=None):
        return self.graph.node("Reshape", [name, self.graph.integers(*shape)], output)


class VolumeForm(Form):
    """Every value is (1, channels, D, H, W)."""

    name = "3d"
    all_but_channels = (0, 2, 3, 4)

    def input(self, x):
        return x

    def shifted(self, x):
        depth = x.extent[0]
        chunks = []
        for first, last, shift in chunk_shifts(x.channels, self.groups):
            # A shift past the whole depth leaves an empty slice, padded to zeros.
            distance = min(abs(shift), depth)
            begin, end = (0, depth - distance) if shift > 0 else (distance, depth)
            inputs = [x.name] + [self.graph.integers(*pair) for pair in ((first, begin), (last, end), (1, 2))]
            name = self.graph.node("Slice", inputs)
            if distance:
                before, after = (distance, 0) if shift > 0 else (0, distance)
                name = self.graph.node("Pad", [name, self.graph.integers(0, 0, before, 0, 0, 0, 0, after, 0, 0)])
            chunks.append(name)
        return chunks[0] if len(chunks) == 1 else self.graph.node("Concat", chunks, axis=1)

    def block(self, parts, prefix, outputs, stride=(1, 1, 1)):
        x = parts[0]
        if len(parts) > 1:
            name = self.graph.node("Concat", [part.name for part in parts], axis=1)
            x = FeatureMap(name, sum(part.channels for part in parts), x.extent)
        weight = self.graph.constant(self.weight(prefix)[:, :, None], prefix + ".weight")
        name = self.graph.node("Conv", [self.shifted(x), weight, self.parameter(prefix, "bias")], kernel_shape=(1, 3, 3),
                               strides=tuple(stride), pads=(0, 1, 1, 0, 1, 1))
        return FeatureMap(self.normalised(name, prefix), outputs, [-(-n // s) for n, s in zip(x.extent, stride)])

    def up(self, x, prefix, outputs, stride):
        weight = self.graph.constant(self.weight(prefix).swapaxes(0, 1), prefix + ".weight")
        name = self.graph.node("ConvTranspose", [x.name, weight], kernel_shape=tuple(stride), strides=tuple(stride))
        return FeatureMap(name, outputs, [n * s for n, s in zip(x.extent, stride)])

    def down(self, x, stride):
        name = self.graph.node("MaxPool", [x.name], kernel_shape=tuple(stride), strides=tuple(stride))
        return FeatureMap(name, x.channels, [n // s for n, s in zip(x.extent, stride)])

    def output(self, x, weight):
        weight = self.graph.constant(weight[:, :, None, None, None], "head.0.weight")
        self.graph.node("Conv", [x.name, weight], "y", kernel_shape=(1, 1, 1))


class SliceForm(Form):
    """Every value is (D, channels, H, W): depth slices as a batch of images.

    A block's input comes by one Gather of rows, a row being the H*W voxels of one channel in one slice: it puts the parts of
    a concatenation in order, shifts them in depth and skips slices where the convolution is strided in depth. A row of zeros
    stands for the slices that do not exist.
    """

    name = "2d"
    all_but_channels = (0, 2, 3)

    def input(self, x):
        volume = self.reshape(x.name, x.channels, *x.extent)
        return FeatureMap(self.graph.node("Transpose", [volume], perm=(1, 0, 2, 3)), x.channels, x.extent)

    def shifted(self, parts, stride):
        """The shifted concatenation, every stride-th slice of it: (ceil(D / stride), channels, H, W)."""
        depth, height, width = parts[0].extent
        channels = sum(part.channels for part in parts)
        zeros = depth * channels  # the row after the parts' own
        slices = np.arange(0, depth, stride)
        rows = np.full((len(slices), channels), zeros, np.int64)
        shift_of = np.concatenate([np.full(last - first, shift) for first, last, shift in chunk_shifts(channels, self.groups)])
        channel, first_row = 0, 0
        for part in parts:
            for c in range(part.channels):
                source = slices - shift_of[channel]
                inside = (source >= 0) & (source < depth)
                rows[inside, channel] = first_row + source[inside] * part.channels + c
                channel += 1
            first_row += depth * part.channels
        sources = [self.reshape(part.name, depth * part.channels, height * width) for part in parts]
        sources.append(self.graph.constant(np.zeros((1, height * width), np.float32)))
        name = self.graph.node("Concat", sources, axis=0)
        name = self.graph.node("Gather", [name, self.graph.constant(rows.reshape(-1))], axis=0)
        return self.reshape(name, len(slices), channels, height, width)

    def block(self, parts, prefix, outputs, stride=(1, 1, 1)):
        weight = self.graph.constant(self.weight(prefix), prefix + ".weight")
        inputs = [self.shifted(parts, stride[0]), weight, self.parameter(prefix, "bias")]
        name = self.graph.node("Conv", inputs, kernel_shape=(3, 3), strides=tuple(stride[1:]), pads=(1, 1, 1, 1))
        return FeatureMap(self.normalised(name, prefix), outputs, [-(-n // s) for n, s in zip(parts[0].extent, stride)])

    def up(self, x, prefix, outputs, stride):
        # One input slice makes stride[0] output slices: they are computed as that many times the channels, in memory order.
        weight = self.weight(prefix).transpose(1, 2, 0, 3, 4).reshape(x.channels, stride[0] * outputs, *stride[1:])
        extent = [n * s for n, s in zip(x.extent, stride)]
        name = self.graph.node("ConvTranspose", [x.name, self.graph.constant(weight, prefix + ".weight")],
                               kernel_shape=tuple(stride[1:]), strides=tuple(stride[1:]))
        return FeatureMap(self.reshape(name, extent[0], outputs, *extent[1:]), outputs, extent)

    def down(self, x, stride):
        extent = [n // s for n, s in zip(x.extent, stride)]
        name = self.graph.node("MaxPool", [x.name], kernel_shape=tuple(stride[1:]), strides=tuple(stride[1:]))
        if stride[0] > 1:
            name = self.reshape(name, extent[0], stride[0], x.channels, *extent[1:])
            name = self.graph.node("ReduceMax", [name], axes=(1,), keepdims=0)
        return FeatureMap(name, x.channels, extent)

    def output(self, x, weight):
        weight = self.graph.constant(weight[:, :, None, None], "head.0.weight")
        name = self.graph.node("Conv", [x.name, weight], kernel_shape=(1, 1))
        name = self.graph.node("Transpose", [name], perm=(1, 0, 2, 3))
        self.reshape(name, 1, self.configuration["classes"], *x.extent, output="y")


FORMS = {form.name: form for form in (SliceForm, VolumeForm)}


def export(model, path, form="2d", patch=None):
    """Writes `model` as an ONNX file. Raises ModelFileError where the patch does not fit the network, and writes nothing then."""
    where = os.fspath(path)
    patch = list(patch or model.configuration["patch_size"])
    for axis, size in enumerate(patch):
        total = math.prod(stride[axis] for stride in model.configuration["pool_strides"])
        if size < 1 or size % total:
            raise ModelFileError(f"{where}: patch[{axis}]: expected a multiple of {total}, the product of its pool strides, "
                                 f"found {size}")
    message = FORMS[form](model, patch).build()
    if len(message) > LARGEST_MESSAGE:
        raise ModelFileError(f"{where}: expected a graph of at most {LARGEST_MESSAGE} bytes, the format's limit, "
                             f"found {len(message)}")
    with replacing(path) as file:
        file.write(message)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=DESCRIPTION, epilog=EPILOGUE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.safetensors", help="the model file to read")
    parser.add_argument("onnx", metavar="OUT.onnx", help="the ONNX file to write")
    parser.add_argument("--form", choices=sorted(FORMS), default="2d", help="how the convolutions are written (default: 2d)")
    parser.add_argument("--patch", metavar="D,H,W", type=parse_patch, help="patch size in voxels, instead of the model's")
    parser.add_argument("--quiet", action="store_true", help="print nothing when all goes well")
    options = parser.parse_args(arguments)
    try:
        model = read_model(options.model)
        export(model, options.onnx, options.form, options.patch)
    except OSError as error:
        print(f"export_onnx: {error.filename or options.model}: {error.strerror or error}", file=sys.stderr)
        return 1
    except ModelFileError as error:
        print(f"export_onnx: {error}", file=sys.stderr)
        return 1
    if not options.quiet:
        patch = options.patch or model.configuration["patch_size"]
        print(f"{options.onnx}: form {options.form}, patch {'x'.join(str(size) for size in patch)}, "
              f"{os.path.getsize(options.onnx) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
