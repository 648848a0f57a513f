"""What a model is made of and where the time of a patch goes."""

import json
from typing import Any, Dict, Optional, Sequence

import numpy

from ._library import LIBRARY, Handle, call, ints, text_of
from ._model import Model
from ._options import options, patch_of


def info(model: Model, patch: Optional[Sequence[int]] = None, threads: int = 0, precision: str = "f32") -> Dict[str, Any]:
    """Model.info()."""
    return model.info(patch, threads, precision)


def profile(model: Model, patch: Optional[Sequence[int]] = None, threads: int = 0, precision: str = "f32",
            algorithm: str = "auto") -> Dict[str, Any]:
    """What `e2enet profile --json` says: runs a patch of noise twice and gives kernel, density, FLOPs, seconds and bytes of
    each layer of the second run. `patch` is (D, H, W) voxels, the model's own unless told; `precision` "f32" or "bf16";
    `algorithm` "auto", or for comparisons "winograd", "direct", "onednn", "reference"."""
    sizes = patch_of(patch)
    runner = Handle("patch_runner", "patch_runner_create", model._handle, options(threads=threads, precision=precision),
                    ints(sizes) if sizes else None, algorithm.encode())
    shape = ints([0, 0, 0])
    LIBRARY.e2enet_patch_runner_patch(runner, shape)
    noise = numpy.random.default_rng(1).standard_normal((model.input_channels, *shape), dtype=numpy.float32)
    for _ in range(2):
        call("patch_runner_run", runner, noise.ctypes.data, None)
    return json.loads(text_of("patch_runner_json", runner))
