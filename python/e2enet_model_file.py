"""Reads and writes e2enet's model file (docs/model-file.md) with nothing but numpy.

    from e2enet_model_file import Model, read_model, write_model, tensor_shapes, dense_weight, sparse_from_dense

    model = read_model("hippocampus.safetensors")
    model.configuration["patch_size"]                       # [40, 56, 40]
    model.tensors["fusion.0.1.0.kernels"].shape             # (K, 3, 3), float32
    model.tensors["fusion.0.1.0.connectivity"].shape        # (K, 2), int32: (output channel, input channel)
    model.dense("fusion.0.1.0")                             # (output channels, input channels, 3, 3), pruned kernels zero
    write_model("copy.safetensors", model)

Both directions check everything that docs/model-file.md promises; what does not hold raises ModelFileError with the file,
the field, what was expected and what was found.
"""

import json
import math
import os
import struct
import tempfile

import numpy as np

FORMAT_VERSION = 1
DEFAULT_MAX_FEATURES = 320
DEFAULT_GROUPS = 5
NORMALIZATION_SCHEMES = ("CT", "CT2", "nonCT", "noNorm")
OPTIONAL_HEADS = 3  # heads 1 to 3 may be there (deep supervision in training); inference runs head 0 alone

_LARGEST_HEADER = 100_000_000  # the safetensors format's own limit
_LARGEST_INTEGER = 2**31 - 1
_TYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4")}

CONFIGURATION_KEYS = frozenset(
    ["format_version", "input_channels", "classes", "base_features", "max_features", "pool_strides", "groups",
     "patch_size", "output", "region_order", "labels", "mirror_axes", "mirrored_labels", "preprocessing", "postprocessing",
     "provenance"])
PREPROCESSING_KEYS = frozenset(["spacing", "transpose_forward", "normalization", "orientation"])
NORMALIZATION_KEYS = frozenset(["scheme", "clip", "mean", "sd", "use_mask"])
POSTPROCESSING_KEYS = frozenset(["largest_component"])


class ModelFileError(ValueError):
    """A model file, a configuration or a set of tensors is not what docs/model-file.md asks for."""


class Model:
    """A network: `configuration` is the metadata's JSON object, `tensors` maps the names of docs/model-file.md to arrays.

    Sparse layers are held as in the file: `PREFIX.kernels` and `PREFIX.connectivity`; dense() expands one.
    """

    def __init__(self, configuration, tensors):
        self.configuration = configuration
        self.tensors = tensors

    def dense(self, prefix):
        """The whole weight of the sparse layer `fusion.I.J.B` or `up.I.J`: (output, input, ...), pruned kernels zero."""
        outputs, inputs = sparse_layer_channels(self.configuration)[prefix]
        return dense_weight(self.tensors[prefix + ".kernels"], self.tensors[prefix + ".connectivity"], outputs, inputs)

    def validate(self, where="model"):
        """Raises ModelFileError unless configuration and tensors agree with docs/model-file.md in every point."""
        validate_configuration(self.configuration, where)
        validate_tensors(self.configuration, self.tensors, where)


# ---------------------------------------------------------------------------------------------------------------------
# The architecture: features, channels and the tensors that they ask for
# ---------------------------------------------------------------------------------------------------------------------

def features_per_level(configuration):
    """f[0..L]: min(base_features * 2^i, max_features)."""
    base = configuration["base_features"]
    most = configuration.get("max_features", DEFAULT_MAX_FEATURES)
    return [min(base * 2**i, most) for i in range(len(configuration["pool_strides"]) + 1)]


def fusion_nodes(levels):
    """(i, j) of every fusion node x[i][j], in the order in which they can be computed: j = 1..L, then i = 0..L-j."""
    return [(i, j) for j in range(1, levels + 1) for i in range(levels - j + 1)]


def fusion_input_channels(features, i):
    """Channels of a fusion node's concatenation: x[i][j-1], up(x[i+1][j-1]) and, for i > 0, down(x[i-1][j-1])."""
    return 2 * features[i] + (features[i - 1] if i > 0 else 0)


def blocks_of_node(levels, i, j):
    """Two blocks on the backbone (j = 0) and at the end of a row (i + j = L), one in between."""
    return 2 if j == 0 or i + j == levels else 1


def sparse_layer_channels(configuration):
    """{prefix: (output channels, input channels)} of the sparse layers `up.I.J` and `fusion.I.J.B`, in file order."""
    features = features_per_level(configuration)
    levels = len(features) - 1
    layers = {}
    for i, j in fusion_nodes(levels):
        layers[f"up.{i}.{j}"] = (features[i], features[i + 1])
        for block in range(blocks_of_node(levels, i, j)):
            layers[f"fusion.{i}.{j}.{block}"] = (features[i], fusion_input_channels(features, i) if block == 0 else features[i])
    return layers


def tensor_shapes(configuration, optional_heads=()):
    """{name: shape} of every tensor that the architecture needs, in the file's order; None stands for K, the kept kernels.

    optional_heads lists which of the deep supervision heads 1 to 3 are to be there besides head 0.
    """
    features = features_per_level(configuration)
    levels = len(features) - 1
    shapes = {}

    def affine(prefix, channels):
        for name in ("bias", "norm_weight", "norm_bias"):
            shapes[f"{prefix}.{name}"] = (channels,)

    for i in range(levels + 1):
        for block in (0, 1):
            inputs = features[i] if block else (features[i - 1] if i else configuration["input_channels"])
            shapes[f"backbone.{i}.{block}.weight"] = (features[i], inputs, 3, 3)
            affine(f"backbone.{i}.{block}", features[i])
    for i, j in fusion_nodes(levels):
        shapes[f"up.{i}.{j}.kernels"] = (None, *configuration["pool_strides"][i])
        shapes[f"up.{i}.{j}.connectivity"] = (None, 2)
        for block in range(blocks_of_node(levels, i, j)):
            shapes[f"fusion.{i}.{j}.{block}.kernels"] = (None, 3, 3)
            shapes[f"fusion.{i}.{j}.{block}.connectivity"] = (None, 2)
            affine(f"fusion.{i}.{j}.{block}", features[i])
    for i in (0, *sorted(optional_heads)):
        shapes[f"head.{i}.weight"] = (configuration["classes"], features[i])
    return shapes


def possible_heads(levels):
    """Head i stands on x[i][L-i]: 0..3, as far as the network has levels."""
    return range(min(OPTIONAL_HEADS, levels) + 1)


# ---------------------------------------------------------------------------------------------------------------------
# Kept kernels and their connectivity
# ---------------------------------------------------------------------------------------------------------------------

def dense_weight(kernels, connectivity, outputs, inputs):
    """Expands kept kernels (K, ...) to a whole weight (outputs, inputs, ...); pruned kernels are zero."""
    weight = np.zeros((outputs, inputs, *kernels.shape[1:]), dtype=np.float32)
    weight[connectivity[:, 0], connectivity[:, 1]] = kernels
    return weight


def sparse_from_dense(weight, mask=None):
    """Splits a weight (outputs, inputs, ...) into (kernels, connectivity), rows increasing by output, then input.

    mask: booleans (outputs, inputs), True where a kernel is kept; None keeps each kernel that has any nonzero value.
    """
    weight = np.asarray(weight, dtype=np.float32)
    if mask is None:
        mask = np.any(weight.reshape(weight.shape[0], weight.shape[1], -1) != 0, axis=2)
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != weight.shape[:2]:
        raise ModelFileError(f"mask: expected shape {weight.shape[:2]} (outputs, inputs), found {mask.shape}")
    connectivity = np.argwhere(mask).astype(np.int32).reshape(-1, 2)
    return np.ascontiguousarray(weight[mask]), connectivity


# ---------------------------------------------------------------------------------------------------------------------
# Validation
# ---------------------------------------------------------------------------------------------------------------------

def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)


def _integer(value, field, least, where):
    if not _is_integer(value) or not least <= value <= _LARGEST_INTEGER:
        raise ModelFileError(f"{where}: {field}: expected an integer of at least {least}, found {value!r}")
    return value


def _triple(value, field, where, is_valid, kind):
    if not isinstance(value, list) or len(value) != 3 or not all(is_valid(v) for v in value):
        raise ModelFileError(f"{where}: {field}: expected [d, h, w], three {kind}, found {value!r}")
    return value


def _object(value, field, where):
    if not isinstance(value, dict):
        raise ModelFileError(f"{where}: {field}: expected an object, found {value!r}")
    return value


def refuse_unknown_keys(configuration, where):
    """For configurations that a person writes: a misspelt key is an error, not a default taken in silence."""
    def check(part, known, field):
        for key in part:
            if key not in known:
                raise ModelFileError(f"{where}: {field}{key}: unknown key, expected one of {', '.join(sorted(known))}")
    check(configuration, CONFIGURATION_KEYS, "")
    preprocessing = _object(configuration.get("preprocessing", {}), "preprocessing", where)
    check(preprocessing, PREPROCESSING_KEYS, "preprocessing.")
    for channel, entry in enumerate(preprocessing.get("normalization") or []):
        field = f"preprocessing.normalization[{channel}]"
        check(_object(entry, field, where), NORMALIZATION_KEYS, field + ".")
    check(_object(configuration.get("postprocessing", {}), "postprocessing", where), POSTPROCESSING_KEYS, "postprocessing.")


def validate_configuration(configuration, where="configuration"):
    """Raises ModelFileError unless every key that docs/model-file.md names is present where required and well-formed."""
    _object(configuration, "configuration", where)
    for key in ("format_version", "input_channels", "classes", "base_features", "pool_strides", "patch_size"):
        if key not in configuration:
            raise ModelFileError(f"{where}: {key}: expected a value, found none")
    if configuration["format_version"] != FORMAT_VERSION or not _is_integer(configuration["format_version"]):
        raise ModelFileError(
            f"{where}: format_version: expected {FORMAT_VERSION}, found {configuration['format_version']!r}")
    for key in ("input_channels", "classes", "base_features"):
        _integer(configuration[key], key, 1, where)
    _integer(configuration.get("max_features", DEFAULT_MAX_FEATURES), "max_features", 1, where)
    groups = _integer(configuration.get("groups", DEFAULT_GROUPS), "groups", 1, where)
    if groups % 2 == 0:
        raise ModelFileError(f"{where}: groups: expected an odd number, found {groups}")

    def is_size(value):
        return _is_integer(value) and 1 <= value <= _LARGEST_INTEGER

    strides = configuration["pool_strides"]
    if not isinstance(strides, list) or not strides:
        raise ModelFileError(f"{where}: pool_strides: expected a list of one [d, h, w] or more, found {strides!r}")
    for level, stride in enumerate(strides):
        _triple(stride, f"pool_strides[{level}]", where, is_size, "integers of at least 1")
    patch = _triple(configuration["patch_size"], "patch_size", where, is_size, "integers of at least 1")
    for axis in range(3):
        total = math.prod(stride[axis] for stride in strides)
        if patch[axis] % total:
            raise ModelFileError(f"{where}: patch_size[{axis}]: expected a multiple of {total}, the product of "
                                 f"its pool strides, found {patch[axis]}")

    output = configuration.get("output", "softmax")
    if output not in ("softmax", "sigmoid"):
        raise ModelFileError(f"{where}: output: expected softmax or sigmoid, found {output!r}")
    region_order = configuration.get("region_order")
    if output == "sigmoid":
        if (not isinstance(region_order, list) or len(region_order) != configuration["classes"]
                or not all(_is_integer(v) and 0 <= v <= 32767 for v in region_order)):
            raise ModelFileError(f"{where}: region_order: expected {configuration['classes']} label values, one a "
                                 f"region, found {region_order!r}")
    elif region_order is not None:
        raise ModelFileError(f"{where}: region_order: expected none with the output softmax, found {region_order!r}")

    labels = configuration.get("labels")
    if labels is not None:
        _object(labels, "labels", where)
        for value, name in labels.items():
            if not (value.isascii() and value.isdigit()) or str(int(value)) != value or int(value) > 32767:
                raise ModelFileError(f"{where}: labels: expected label values from 0 to 32767, found {value!r}")
            if not isinstance(name, str):
                raise ModelFileError(f"{where}: labels.{value}: expected a name, found {name!r}")
            if output == "softmax" and int(value) >= configuration["classes"]:
                raise ModelFileError(f"{where}: labels.{value}: expected a value below the {configuration['classes']} "
                                     f"classes, found {value}")

    mirror = configuration.get("mirror_axes", [0, 1, 2])
    if (not isinstance(mirror, list) or not all(_is_integer(a) and 0 <= a <= 2 for a in mirror)
            or len(set(mirror)) != len(mirror)):
        raise ModelFileError(f"{where}: mirror_axes: expected axes among 0, 1 and 2, each once, found {mirror!r}")

    _validate_preprocessing(configuration, where)
    _validate_mirrored_labels(configuration, where)

    postprocessing = _object(configuration.get("postprocessing", {}), "postprocessing", where)
    components = postprocessing.get("largest_component", [])
    if not isinstance(components, list) or not all(_is_integer(v) and 0 < v <= 32767 for v in components):
        raise ModelFileError(f"{where}: postprocessing.largest_component: expected a list of label values, "
                             f"found {components!r}")
    _object(configuration.get("provenance", {}), "provenance", where)


def _validate_mirrored_labels(configuration, where):
    pairs = configuration.get("mirrored_labels")
    if pairs is None:
        return
    classes = configuration["classes"]
    if not isinstance(pairs, list):
        raise ModelFileError(f"{where}: mirrored_labels: expected a list of pairs of labels, found {pairs!r}")
    seen = set()
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(_is_integer(v) and 1 <= v < classes for v in pair):
            raise ModelFileError(f"{where}: mirrored_labels[{index}]: expected two labels from 1 to {classes - 1}, "
                                 f"found {pair!r}")
        for label in pair:
            if label in seen:
                raise ModelFileError(f"{where}: mirrored_labels[{index}]: expected every label at most once, found "
                                     f"{label} again")
            seen.add(label)
    if pairs and configuration.get("output", "softmax") != "softmax":
        raise ModelFileError(f"{where}: mirrored_labels: expected none with the output sigmoid, found {pairs!r}")
    if pairs and configuration.get("preprocessing", {}).get("orientation") is None:
        raise ModelFileError(f"{where}: mirrored_labels: expected preprocessing.orientation with it, by which the axis of "
                             "left and right is known, found none")


def _validate_preprocessing(configuration, where):
    preprocessing = _object(configuration.get("preprocessing", {}), "preprocessing", where)
    spacing = preprocessing.get("spacing")
    if spacing is not None:
        _triple(spacing, "preprocessing.spacing", where, lambda v: _is_number(v) and v > 0, "positive numbers (mm)")
    transpose = preprocessing.get("transpose_forward", [0, 1, 2])
    if not isinstance(transpose, list) or not all(_is_integer(v) for v in transpose) or sorted(transpose) != [0, 1, 2]:
        raise ModelFileError(f"{where}: preprocessing.transpose_forward: expected an order of 0, 1, 2, found {transpose!r}")
    orientation = preprocessing.get("orientation")
    if orientation is not None and (not isinstance(orientation, str) or len(orientation) != 3 or sorted(
            {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}.get(letter, -1) for letter in orientation) != [0, 1, 2]):
        raise ModelFileError(f"{where}: preprocessing.orientation: expected one letter each of R/L, A/P and S/I, such as "
                             f"RAS, found {orientation!r}")
    normalization = preprocessing.get("normalization")
    if normalization is None:
        return
    channels = configuration["input_channels"]
    if not isinstance(normalization, list) or len(normalization) != channels:
        found = len(normalization) if isinstance(normalization, list) else repr(normalization)
        raise ModelFileError(f"{where}: preprocessing.normalization: expected {channels} entries, one a channel, "
                             f"found {found}")
    for channel, entry in enumerate(normalization):
        field = f"preprocessing.normalization[{channel}]"
        _object(entry, field, where)
        scheme = entry.get("scheme", "nonCT")
        if scheme not in NORMALIZATION_SCHEMES:
            raise ModelFileError(f"{where}: {field}.scheme: expected one of {', '.join(NORMALIZATION_SCHEMES)}, "
                                 f"found {scheme!r}")
        if not isinstance(entry.get("use_mask", False), bool):
            raise ModelFileError(f"{where}: {field}.use_mask: expected true or false, found {entry['use_mask']!r}")
        clip = entry.get("clip")
        if clip is not None or scheme in ("CT", "CT2"):
            if (not isinstance(clip, list) or len(clip) != 2 or not all(_is_number(v) for v in clip)
                    or clip[0] > clip[1]):
                raise ModelFileError(f"{where}: {field}.clip: expected [low, high], found {clip!r}")
        for key in ("mean", "sd"):
            value = entry.get(key)
            if value is None and scheme != "CT":
                continue
            if not _is_number(value) or (key == "sd" and not value > 0):
                kind = "a positive number" if key == "sd" else "a number"
                raise ModelFileError(f"{where}: {field}.{key}: expected {kind}, found {value!r}")


def _heads_in(names, levels):
    heads = [i for i in possible_heads(levels) if i > 0 and f"head.{i}.weight" in names]
    return heads


def _fewest_tensors(levels):
    # Cheap for any L, so that a file which claims a million pooling steps is refused before their tensors are listed.
    return 8 * (levels + 1) + 7 * levels * (levels + 1) // 2 + 5 * levels + 1


def validate_tensors(configuration, tensors, where="model"):
    """Raises ModelFileError unless `tensors` are exactly those of the (valid) configuration, well-formed and finite."""
    levels = len(configuration["pool_strides"])
    if _fewest_tensors(levels) > 2 * len(tensors) + 100:
        raise ModelFileError(f"{where}: tensors: expected at least {_fewest_tensors(levels)} for {levels} pooling steps, "
                             f"found {len(tensors)}")
    expected = tensor_shapes(configuration, _heads_in(tensors, levels))
    for name in expected:
        if name not in tensors:
            raise ModelFileError(f"{where}: {name}: expected by the architecture, found none")
    for name in tensors:
        if name not in expected:
            raise ModelFileError(f"{where}: {name}: not a tensor of this architecture")
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, tensor.shape)):
            wanted = ", ".join("K" if size is None else str(size) for size in shape)
            raise ModelFileError(f"{where}: {name}: expected shape ({wanted}), found {tuple(tensor.shape)}")
        dtype = _TYPES["I32" if name.endswith(".connectivity") else "F32"]
        if tensor.dtype != dtype:
            raise ModelFileError(f"{where}: {name}: expected type {dtype.name}, found {tensor.dtype.name}")
        if dtype == _TYPES["F32"] and not np.isfinite(tensor).all():
            count = int(np.count_nonzero(~np.isfinite(tensor)))
            raise ModelFileError(f"{where}: {name}: expected finite values, found {count} that are not")
    for prefix, (outputs, inputs) in sparse_layer_channels(configuration).items():
        _validate_connectivity(prefix, tensors, outputs, inputs, where)


def _validate_connectivity(prefix, tensors, outputs, inputs, where):
    name = prefix + ".connectivity"
    connectivity = tensors[name].astype(np.int64)
    kernels = tensors[prefix + ".kernels"].shape[0]
    if connectivity.shape[0] != kernels:
        raise ModelFileError(f"{where}: {name}: expected {kernels} rows, one a kept kernel, found {connectivity.shape[0]}")
    for column, limit, kind in ((0, outputs, "output"), (1, inputs, "input")):
        wrong = np.flatnonzero((connectivity[:, column] < 0) | (connectivity[:, column] >= limit))
        if wrong.size:
            raise ModelFileError(f"{where}: {name}[{wrong[0]}]: expected an {kind} channel below {limit}, "
                                 f"found {connectivity[wrong[0], column]}")
    order = connectivity[:, 0] * inputs + connectivity[:, 1]
    wrong = np.flatnonzero(order[1:] <= order[:-1])
    if wrong.size:
        row = int(wrong[0]) + 1
        raise ModelFileError(f"{where}: {name}[{row}]: expected rows strictly increasing by output, then input, "
                             f"found {connectivity[row].tolist()} after {connectivity[row - 1].tolist()}")


# ---------------------------------------------------------------------------------------------------------------------
# The file
# ---------------------------------------------------------------------------------------------------------------------

def strict_json(text, where, field):
    """json.loads that refuses duplicate keys, NaN and Infinity, and reports faults as ModelFileError."""
    def pairs(items):
        result = dict(items)
        if len(result) != len(items):
            names = [key for key, _ in items]
            twice = next(key for key in names if names.count(key) > 1)
            raise ModelFileError(f"{where}: {field}: expected each key once, found {twice!r} twice")
        return result

    def constant(name):
        raise ModelFileError(f"{where}: {field}: expected finite numbers, found {name}")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{where}: {field}: expected JSON, found {error}") from None


def _parse_header(header, data_size, where):
    """{name: (dtype, shape, begin, end)} in file order, and the metadata; ranges proven to tile the data exactly."""
    metadata = header.pop("__metadata__", {})
    _object(metadata, "header.__metadata__", where)
    entries = {}
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ModelFileError(f"{where}: {name}: expected dtype, shape and data_offsets, found {str(entry)[:200]}")
        if not isinstance(entry["dtype"], str) or entry["dtype"] not in _TYPES:
            raise ModelFileError(f"{where}: {name}.dtype: expected F32 or I32, found {entry['dtype']!r}")
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not isinstance(shape, list) or len(shape) > 8 or not all(_is_integer(s) and s >= 0 for s in shape):
            raise ModelFileError(f"{where}: {name}.shape: expected sizes of at least 0, found {shape!r}")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_integer(o) and o >= 0 for o in offsets):
            raise ModelFileError(f"{where}: {name}.data_offsets: expected [begin, end], found {offsets!r}")
        size = math.prod(shape) * 4
        if offsets[1] - offsets[0] != size:
            raise ModelFileError(f"{where}: {name}.data_offsets: expected {size} bytes for its shape {shape}, "
                                 f"found {offsets[1] - offsets[0]}")
        entries[name] = (_TYPES[entry["dtype"]], shape, offsets[0], offsets[1])
    position = 0
    for name, (_, _, begin, end) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if begin != position:
            raise ModelFileError(f"{where}: {name}.data_offsets: expected to begin at byte {position} (no gap, no overlap), "
                                 f"found {begin}")
        position = end
    if position != data_size:
        raise ModelFileError(f"{where}: data: expected {position} bytes, found {data_size}")
    return entries, metadata


def read_model(path):
    """Reads and validates a model file. Raises ModelFileError, or OSError where the file cannot be read."""
    where = os.fspath(path)
    with open(path, "rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if len(start) < 8:
            raise ModelFileError(f"{where}: header length: expected 8 bytes, found {len(start)}")
        (length,) = struct.unpack("<Q", start)
        if length > min(_LARGEST_HEADER, file_size - 8):
            raise ModelFileError(f"{where}: header length: expected at most {min(_LARGEST_HEADER, file_size - 8)} bytes, "
                                 f"found {length}")
        try:
            text = file.read(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelFileError(f"{where}: header: expected UTF-8, found {error}") from None
        header = _object(strict_json(text, where, "header"), "header", where)
        entries, metadata = _parse_header(header, file_size - 8 - length, where)
        if not isinstance(metadata.get("e2enet"), str):
            raise ModelFileError(f"{where}: header.__metadata__.e2enet: expected a JSON text, found "
                                 f"{str(metadata.get('e2enet'))[:100]}")
        configuration = strict_json(metadata["e2enet"], where, "header.__metadata__.e2enet")
        validate_configuration(configuration, where)
        data = file.read()
    if len(data) != file_size - 8 - length:
        raise ModelFileError(f"{where}: data: expected {file_size - 8 - length} bytes, found {len(data)}")
    tensors = {
        name: np.frombuffer(data, dtype, (end - begin) // 4, begin).reshape(shape).copy()
        for name, (dtype, shape, begin, end) in entries.items()
    }
    validate_tensors(configuration, tensors, where)
    return Model(configuration, tensors)


def write_model(path, model):
    """Validates and writes a model file: to a temporary file beside it, then renamed, so never half a file."""
    where = os.fspath(path)
    model.validate(where)
    levels = len(model.configuration["pool_strides"])
    names = tensor_shapes(model.configuration, _heads_in(model.tensors, levels))
    header = {"__metadata__": {"e2enet": json.dumps(model.configuration, allow_nan=False, ensure_ascii=False)}}
    position = 0
    for name in names:
        tensor = model.tensors[name]
        header[name] = {
            "dtype": "I32" if name.endswith(".connectivity") else "F32",
            "shape": list(tensor.shape),
            "data_offsets": [position, position + 4 * tensor.size],
        }
        position += 4 * tensor.size
    text = json.dumps(header, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of eight bytes, so it can be mapped and used in place

    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in names:
            tensor = model.tensors[name]
            file.write(np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).tobytes())


class replacing:
    """`with replacing(path) as file:` writes beside path and renames at the end; on an error path is left as it was."""

    def __init__(self, path):
        self.path = os.fspath(path)

    def __enter__(self):
        folder, name = os.path.split(self.path)
        descriptor, self.temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder or ".")
        self.file = os.fdopen(descriptor, "wb")
        return self.file

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                # mkstemp makes files that their owner alone may read; give it the rights of any new file.
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(self.file.fileno(), 0o666 & ~mask)
            self.file.close()
            if kind is None:
                os.replace(self.temporary, self.path)
                return
        finally:
            if os.path.exists(self.temporary):
                os.unlink(self.temporary)
