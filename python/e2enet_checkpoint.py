"""Reads PyTorch checkpoints and nnU-Net plans without PyTorch and without running anything that the files contain.

A pickle is a program. Here it may build containers, numbers, texts, numpy arrays and tensors, and nothing else: every other
type that a file names is refused, with the name. What numpy and torch would do when they unpickle is done here instead, on
checked values, so that a wrong shape or type cannot reach their C code either.
"""

import collections
import math
import os
import pickle
import zipfile

import numpy as np


class CheckpointError(ValueError):
    """A checkpoint or its plans cannot be read, or hold what no checkpoint needs."""


class ConversionError(ValueError):
    """What a checkpoint or its plans hold is no E2ENet that a model file can say."""


# ---------------------------------------------------------------------------------------------------------------------
# What a pickle may build
# ---------------------------------------------------------------------------------------------------------------------

class _Sealed:
    """A value that a pickle cannot alter through its attribute-setting opcodes."""

    __slots__ = ()

    def __setattr__(self, name, value):
        raise pickle.UnpicklingError(f"attribute {name!r} set on {type(self).__name__}")


class _Constructor(_Sealed):
    """Stands for a class or function that the pickle names; calling it builds the checked equivalent."""

    __slots__ = ("build",)

    def __init__(self, build):
        object.__setattr__(self, "build", build)

    def __call__(self, *arguments):
        return self.build(*arguments)


class _ArrayType(_Sealed):
    """numpy.dtype: numbers, booleans, fixed-width texts and (for lists of objects) 'O'. No structures, no subarrays."""

    __slots__ = ("code", "order")

    def __init__(self, code, align=False, copy=False):
        if not isinstance(code, str) or not (code in ("O", "O8", "b1") or code[:1] in "fiuUS" and code[1:].isdigit()):
            raise pickle.UnpicklingError(f"numpy type {code!r}")
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "order", "=")

    def __setstate__(self, state):
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError(f"numpy type {self.code!r} with structure")
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"numpy byte order {state[1]!r}")
        object.__setattr__(self, "order", state[1])

    def is_object(self):
        return self.code[0] == "O"

    def numpy(self):
        return np.dtype(self.order + self.code)


class _Array(_Sealed):
    """numpy.ndarray: empty until its state arrives, then `value` is an array (or, of type 'O', a list)."""

    __slots__ = ("value",)

    def __init__(self, *_):
        object.__setattr__(self, "value", None)

    def __setstate__(self, state):
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _ArrayType) or not _is_shape(shape):
            raise pickle.UnpicklingError("numpy array with a malformed state")
        if kind.is_object():
            if not isinstance(data, list) or len(data) != math.prod(shape):
                raise pickle.UnpicklingError("numpy object array with a malformed state")
            value = data
        else:
            kind = kind.numpy()
            if not isinstance(data, bytes) or len(data) != kind.itemsize * math.prod(shape):
                raise pickle.UnpicklingError(f"numpy array of shape {shape} with {len(data)} bytes")
            value = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
        object.__setattr__(self, "value", value)


def _is_shape(shape):
    return isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape)


def _scalar(kind, data):
    if not isinstance(kind, _ArrayType) or kind.is_object() or not isinstance(data, bytes):
        raise pickle.UnpicklingError("numpy scalar with a malformed value")
    if len(data) != kind.numpy().itemsize:
        raise pickle.UnpicklingError(f"numpy scalar of type {kind.code} with {len(data)} bytes")
    return np.frombuffer(data, kind.numpy())[0].item()


def _encode(text, encoding="utf-8"):
    # Python 2 and pickle protocol 2 spell bytes as a text encoded in latin1.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise pickle.UnpicklingError(f"text encoded in {encoding!r}")
    return text.encode("latin-1")


_Storage = collections.namedtuple("_Storage", "kind key count")
_StorageType = collections.namedtuple("_StorageType", "name")


class Tensor(collections.namedtuple("Tensor", "storage offset shape stride")):
    """A tensor of the checkpoint, not yet read: Checkpoint.array() reads it."""

    __slots__ = ()


def _rebuild_tensor(storage, offset, shape, stride, *_):
    whole = isinstance(offset, int) and offset >= 0 and _is_shape(shape) and _is_shape(stride)
    if not isinstance(storage, _Storage) or not whole or len(shape) != len(stride):
        raise pickle.UnpicklingError("tensor with a malformed state")
    return Tensor(storage, offset, shape, stride)


_STORAGE_TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}

_PLAIN_TYPES = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("_codecs", "encode"): _Constructor(_encode),
    ("numpy", "dtype"): _Constructor(_ArrayType),
    ("numpy", "ndarray"): _Constructor(_Array),
    ("pathlib", "PosixPath"): _Constructor(lambda *parts: "/".join(str(part) for part in parts)),
    ("pathlib", "WindowsPath"): _Constructor(lambda *parts: "\\".join(str(part) for part in parts)),
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _PLAIN_TYPES[(_module, "_reconstruct")] = _Constructor(_Array)
    _PLAIN_TYPES[(_module, "scalar")] = _Constructor(_scalar)

_TENSOR_TYPES = {
    ("torch._utils", "_rebuild_tensor"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Constructor(lambda data, *_: data),
    ("torch", "Size"): _Constructor(tuple),
    ("torch", "device"): _Constructor(lambda *name: ":".join(str(part) for part in name)),
    **{("torch", name): _StorageType(name) for name in _STORAGE_TYPES},
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, where, types, load_storage=None):
        # Pickles of Python 2 hold their texts as bytes: latin1 is how numpy documents to read them.
        super().__init__(file, encoding="latin1")
        self._where = where
        self._types = types
        self._load_storage = load_storage

    def find_class(self, module, name):
        module = {"__builtin__": "builtins"}.get(module, module)
        found = self._types.get((module, name))
        if found is None:
            raise CheckpointError(f"{self._where}: the type {module}.{name} is refused: neither weights nor plans need it, "
                                  f"and loading it could run code")
        return found

    def persistent_load(self, reference):
        if self._load_storage is None:
            raise pickle.UnpicklingError("a reference to data outside of the pickle")
        return self._load_storage(reference)


def _unpickle(file, where, types, load_storage=None):
    try:
        return _Unpickler(file, where, types, load_storage).load()
    except CheckpointError:
        raise
    except Exception as error:  # a hostile pickle can raise anything that Python's own types raise
        raise CheckpointError(f"{where}: expected a pickle, found {type(error).__name__}: {error}") from None


def plain(value):
    """Arrays, scalars and ordered dictionaries as lists, numbers and dictionaries that JSON could hold."""
    if isinstance(value, _Array):
        return plain(value.value.tolist() if isinstance(value.value, np.ndarray) else value.value)
    if isinstance(value, dict):
        return {plain(key) if not isinstance(key, tuple) else key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, (Tensor, _Storage, _StorageType)):
        return [plain(item) for item in value]
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The files
# ---------------------------------------------------------------------------------------------------------------------

def read_plain_pickle(path):
    """The content of a `.pkl` of plans: dictionaries, lists, numbers and texts."""
    with open(path, "rb") as file:
        return plain(_unpickle(file, os.fspath(path), _PLAIN_TYPES))


class Checkpoint:
    """A file that torch.save wrote (torch 1.6 or newer). `content` is its object, with Tensor where a tensor stands.

    Tensors are read one at a time, when array() is asked for one, so an optimizer's state costs nothing.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self._file = open(path, "rb")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self):
        start = self._file.read(4)
        if start[:2] == b"\x1f\x8b":
            raise CheckpointError(f"{self.path}: expected an uncompressed checkpoint, found gzip: run gunzip first")
        if start[:1] == b"\x80":
            raise CheckpointError(f"{self.path}: expected the zip format of torch 1.6 or newer, found the older pickle format: "
                                  f"load and save it again with a current PyTorch (torch.load, torch.save)")
        try:
            self._archive = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CheckpointError(f"{self.path}: expected a checkpoint of torch.save (a zip file), found {error}") from None
        pickles = [name for name in self._archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"{self.path}: expected one FOLDER/data.pkl in the zip file, found {len(pickles)}")
        self._folder = pickles[0][:-len("data.pkl")]
        order = self._folder + "byteorder"
        if order in self._archive.namelist() and self._member(order) != b"little":
            raise CheckpointError(f"{self.path}: byteorder: expected little, found {self._member(order)[:20]!r}")
        with self._stored(pickles[0]) as file:
            self.content = _unpickle(file, f"{self.path}: data.pkl", {**_PLAIN_TYPES, **_TENSOR_TYPES}, self._storage)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def _stored(self, name):
        try:
            information = self._archive.getinfo(name)
            # torch stores without compression; a compressed member could inflate to any size.
            if information.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError(f"{self.path}: {name}: expected a stored member of the zip file, found a compressed one")
            return self._archive.open(information)
        except (KeyError, zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise CheckpointError(f"{self.path}: {name}: expected in the zip file, found {error}") from None

    def _member(self, name):
        try:
            with self._stored(name) as file:
                return file.read()
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise CheckpointError(f"{self.path}: {name}: cannot be read: {error}") from None

    def _storage(self, reference):
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            raise pickle.UnpicklingError(f"reference {str(reference)[:100]}")
        _, kind, key, _, count = reference
        if not isinstance(kind, _StorageType) or not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError(f"storage reference {str(reference)[:100]}")
        return _Storage(kind.name, key, count)

    def array(self, tensor, name):
        """Reads a tensor as a contiguous float32 array; `name` is for messages."""
        storage = tensor.storage
        kind = _STORAGE_TYPES[storage.kind]
        if kind != "bfloat16" and np.dtype(kind).kind != "f":
            raise CheckpointError(f"{self.path}: {name}: expected floating-point values, found {storage.kind}")
        data = self._member(f"{self._folder}data/{storage.key}")
        size = 2 if kind == "bfloat16" else np.dtype(kind).itemsize
        if len(data) != storage.count * size:
            raise CheckpointError(f"{self.path}: {name}: expected {storage.count * size} bytes in data/{storage.key}, "
                                  f"found {len(data)}")
        if kind == "bfloat16":
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data, kind)
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, np.float32)
        last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride))
        if last >= storage.count:
            raise CheckpointError(f"{self.path}: {name}: expected to end within the {storage.count} values of "
                                  f"data/{storage.key}, found value {last}")
        # A stride of 0 would let a few bytes stand for a tensor of any size.
        if math.prod(tensor.shape) > storage.count:
            raise CheckpointError(f"{self.path}: {name}: expected at most {storage.count} values, found shape {tensor.shape}")
        strides = [step * values.itemsize for step in tensor.stride]
        view = np.lib.stride_tricks.as_strided(values[tensor.offset:], tensor.shape, strides)
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and finiteness is checked later
            return np.array(view, dtype=np.float32, order="C")
