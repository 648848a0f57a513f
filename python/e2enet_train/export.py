"""Between a network with its masks and the model file."""
from typing import Dict, Optional

import numpy
import torch
from e2enet_model_file import Model, sparse_from_dense, write_model

from . import dsff
from .network import Architecture, E2ENet, sparse_parameter_names

FORMAT_VERSION = 1


def model_of(network: E2ENet, masks: Dict[str, torch.Tensor], plan: dict, labels: Dict[int, str], mirror_axes,
             provenance: dict, mirrored_labels=(), training_images: Optional[dict] = None) -> Model:
    """The model file's contents. `masks` has one entry for every sparse weight; a value outside of them is refused."""
    dsff.check_masks(dict(network.named_parameters()), masks)
    configuration = {"format_version": FORMAT_VERSION, **network.architecture.to_json(), "output": "softmax",
                     "labels": {str(value): name for value, name in labels.items()},
                     "mirror_axes": list(mirror_axes), "preprocessing": plan["preprocessing"],
                     "provenance": provenance}
    if mirrored_labels:
        configuration["mirrored_labels"] = [list(pair) for pair in mirrored_labels]
    if training_images is not None:
        configuration["training_images"] = training_images
    sparse = set(sparse_parameter_names(network))
    tensors = {}
    for name, parameter in network.state_dict().items():
        values = parameter.detach().cpu().float().numpy()
        prefix = name.rsplit(".", 1)[0]
        if name in sparse:
            kernels, connectivity = sparse_from_dense(values, masks[name].cpu().numpy())
            tensors[prefix + ".kernels"] = kernels
            tensors[prefix + ".connectivity"] = connectivity
        else:
            tensors[name] = numpy.ascontiguousarray(values)
        if name.endswith(".norm_bias"):
            # The instance norm takes the convolution's bias away, whatever it is: see network.py.
            tensors[prefix + ".bias"] = numpy.zeros_like(values)
    return Model(configuration, tensors)


def network_of(model: Model) -> E2ENet:
    """The network of a model file, float32. Convolution biases are left out: an instance norm follows each of them."""
    c = model.configuration
    if c.get("output", "softmax") != "softmax":
        raise ValueError(f"output: expected softmax, found {c['output']}")
    network = E2ENet(Architecture(c["input_channels"], c["classes"], c["base_features"], c["pool_strides"],
                                  c["patch_size"], c.get("max_features", 320), c.get("groups", 5)))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            prefix = name.rsplit(".", 1)[0]
            if name in model.tensors:
                values = model.tensors[name]
            elif prefix + ".kernels" in model.tensors:
                values = model.dense(prefix)
            elif name.startswith("head."):
                values = numpy.zeros(parameter.shape, numpy.float32)
            else:
                raise KeyError(name)
            parameter.copy_(torch.from_numpy(numpy.array(values, dtype=numpy.float32)))
    return network


def masks_of(model: Model) -> Dict[str, torch.Tensor]:
    """The connectivity masks of a model file, by parameter name."""
    masks = {}
    for name, values in model.tensors.items():
        if name.endswith(".connectivity"):
            prefix = name[:-len(".connectivity")]
            dense = model.dense(prefix)
            mask = torch.zeros(dense.shape[:2], dtype=torch.bool)
            rows = torch.from_numpy(numpy.array(values, dtype=numpy.int64))
            mask[rows[:, 0], rows[:, 1]] = True
            masks[prefix + ".weight"] = mask
    return masks


def write(path, model: Model) -> None:
    write_model(path, model)
