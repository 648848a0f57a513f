"""What the tests of the Python programs share."""

import gzip
import io
import os
import sys

import numpy as np

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "python"))

NETWORKS = os.path.join(ROOT, "tests", "data", "networks")
SHARED = os.environ.get("E2ENET_SHARED", os.path.join(ROOT, "..", "shared"))
GOLDEN = os.path.join(SHARED, "golden")
NEEDS_GOLDEN = "needs the golden vectors: set E2ENET_SHARED to the folder that has golden/"


def load(path):
    """An array from a .npy.gz file."""
    with gzip.open(path) as file:
        return np.load(io.BytesIO(file.read()))


def random_model(seed=0, density=0.3, heads=(), **architecture):
    """A small network with random weights."""
    from e2enet_model_file import Model, sparse_from_dense, sparse_layer_channels, tensor_shapes

    configuration = {"format_version": 1, "input_channels": 1, "classes": 3, "base_features": 4,
                     "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [4, 8, 8], **architecture}
    generator = np.random.default_rng(seed)

    def draw(shape):
        return generator.standard_normal(shape).astype(np.float32) * np.float32(0.3)

    shapes = tensor_shapes(configuration, heads)
    tensors = {name: draw(shape) + name.endswith("norm_weight") for name, shape in shapes.items() if None not in shape}
    for prefix, (outputs, inputs) in sparse_layer_channels(configuration).items():
        weight = draw((outputs, inputs, *shapes[prefix + ".kernels"][1:]))
        mask = generator.random((outputs, inputs)) < density
        tensors[prefix + ".kernels"], tensors[prefix + ".connectivity"] = sparse_from_dense(weight, mask)
    tensors = {name: np.asarray(tensor, np.int32 if name.endswith("connectivity") else np.float32)
               for name, tensor in tensors.items()}
    return Model(configuration, tensors)
