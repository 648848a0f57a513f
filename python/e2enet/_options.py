"""Options as the library's object, from what Python callers write."""

import operator
import os

from ._errors import refuse
from ._library import Handle, call

PRECISIONS = {"f32": 0, "bf16": 1, "auto": 2}
LARGEST_COMPONENTS = {"model": 0, "none": 1, "all": 2}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def chosen(option, known, value):
    try:
        return known[value]
    except (KeyError, TypeError):
        raise refuse(f"{option}: expected one of {', '.join(map(repr, known))}, found {value!r}") from None


def whole(option, value):
    try:
        number = operator.index(value)
    except TypeError:
        raise refuse(f"{option}: expected a whole number, found {value!r}") from None
    if not -2**31 <= number < 2**31:
        raise refuse(f"{option}: expected a number of 32 bits, found {number}")
    return number


def size_in_bytes(option, value):
    """An int, or "600M", "2G"."""
    if value is None:
        return 0
    if isinstance(value, str):
        text = value.strip().upper()
        unit = text[-1:] if text[-1:] in _UNITS and text else ""
        try:
            size = float(text[:len(text) - len(unit)]) * _UNITS[unit]
        except ValueError:
            size = -1
        if not 0 < size < 2**62:
            raise refuse(f"{option}: expected a size like '600M' or '2G', found {value!r}")
        return int(size)
    try:
        size = operator.index(value)
    except TypeError:
        raise refuse(f"{option}: expected bytes, or a text like '2G', found {value!r}") from None
    if not 0 < size < 2**62:
        raise refuse(f"{option}: expected bytes above 0, found {size}")
    return size


def patch_of(patch):
    """Three ints, or None."""
    if patch is None:
        return None
    sizes = [whole("patch", size) for size in patch]
    if len(sizes) != 3:
        raise refuse(f"patch: expected three numbers of voxels (D, H, W), found {len(sizes)}")
    return sizes


def options(threads=0, precision="f32", step=0.5, mirror=False, largest_component="model",
            allow_implausible_spacing=False, memory=None):
    made = Handle("options", "options_create")
    call("options_set_threads", made, whole("threads", threads))
    call("options_set_precision", made, chosen("precision", PRECISIONS, precision))
    try:
        call("options_set_step", made, float(step))
    except (TypeError, ValueError):
        raise refuse(f"step: expected a fraction of the patch, found {step!r}") from None
    call("options_set_mirror", made, bool(mirror))
    call("options_set_largest_component", made, chosen("largest_component", LARGEST_COMPONENTS, largest_component))
    call("options_set_allow_implausible_spacing", made, bool(allow_implausible_spacing))
    call("options_set_memory_limit", made, size_in_bytes("memory", memory))
    return made


def is_path(value):
    return isinstance(value, (str, bytes, os.PathLike))
