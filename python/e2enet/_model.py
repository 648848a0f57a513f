"""A model file, loaded and checked."""

import json
import os
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from ._library import LIBRARY, Handle, ints, path_bytes, text_of
from ._options import options, patch_of


class Model:
    """An E2ENet with its weights and what the pipeline needs to know. Immutable; any number of threads may use one at once.

        model = Model.load("hippocampus.safetensors")
        model.labels                 # {0: "background", 1: "anterior", 2: "posterior"}
    """

    def __init__(self, handle: Handle, name: str):
        """Of the package: see load() and from_bytes()."""
        self._handle = handle
        self._name = name

    @classmethod
    def load(cls, path: Union[str, "os.PathLike[str]"]) -> "Model":
        """Reads a model file (.safetensors) and checks every byte that will be used. Raises Error: CANNOT_READ,
        INVALID_MODEL, OUT_OF_MEMORY."""
        return cls(Handle("model", "model_load", path_bytes(path)), os.fsdecode(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "model") -> "Model":
        """The same from the bytes of a model file, which are not needed afterwards. `name` stands for it in messages."""
        data = bytes(data)
        return cls(Handle("model", "model_from_bytes", data, len(data), os.fsencode(name)), name)

    @property
    def name(self) -> str:
        """The path, or the name that was given."""
        return self._name

    @property
    def input_channels(self) -> int:
        return LIBRARY.e2enet_model_input_channels(self._handle)

    @property
    def classes(self) -> int:
        """Of the network: the number of volumes of probabilities."""
        return LIBRARY.e2enet_model_classes(self._handle)

    @property
    def patch_size(self) -> Tuple[int, int, int]:
        """(D, H, W) in voxels."""
        size = ints([0, 0, 0])
        LIBRARY.e2enet_model_patch_size(self._handle, size)
        return tuple(size)

    @property
    def labels(self) -> Dict[int, str]:
        """Label value -> name; 0 is the background."""
        values = [LIBRARY.e2enet_model_label(self._handle, i)
                  for i in range(LIBRARY.e2enet_model_label_count(self._handle))]
        return {value: LIBRARY.e2enet_model_label_name(self._handle, value).decode(errors="replace") for value in values}

    @property
    def largest_label(self) -> int:
        """The largest value that labels can have."""
        return LIBRARY.e2enet_model_largest_label(self._handle)

    @property
    def parameters(self) -> int:
        """Kept weights, biases and parameters of norms."""
        return LIBRARY.e2enet_model_parameters(self._handle)

    @property
    def flops_paper(self) -> float:
        """Of one patch, in the paper's convention (docs/flops.md)."""
        return LIBRARY.e2enet_model_flops_paper(self._handle)

    @property
    def flops_executed(self) -> float:
        """Of one patch: what is really computed."""
        return LIBRARY.e2enet_model_flops_executed(self._handle)

    def info(self, patch: Optional[Sequence[int]] = None, threads: int = 0, precision: str = "f32") -> Dict[str, Any]:
        """What `e2enet info --json` says: configuration, layers with their densities, parameters, FLOPs and memory of a patch
        of `patch` (D, H, W) voxels, the model's own unless told. `precision` is "f32" or "bf16"."""
        sizes = patch_of(patch)
        return json.loads(text_of("model_json", self._handle, options(threads=threads, precision=precision),
                                  ints(sizes) if sizes else None))

    def __repr__(self) -> str:
        return f"<e2enet.Model {self._name}: {self.input_channels} channels, {len(self.labels)} labels>"
