"""libe2enet by ctypes: where it is, what its functions take, and errors as exceptions."""

import ctypes
import glob
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint16, c_void_p

from ._errors import Error, ErrorCode
from ._version import __version__

FOLDER = os.path.dirname(os.path.abspath(__file__))
NAME = "libe2enet.so.0"

LABEL_CALLBACK = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64, c_int64, POINTER(c_uint16))
PROGRESS = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int64, c_int64, c_double)
SLICE_READER = ctypes.CFUNCTYPE(c_int, c_void_p, c_int, c_int64, c_int64, POINTER(c_float))

_OBJECT = POINTER(c_void_p)  # a place for an object
_SHAPE, _DOUBLES, _INTS = POINTER(c_int64), POINTER(c_double), POINTER(c_int)

# What the functions that return an e2enet_status take.
_STATUS = {
    "options_create": [_OBJECT],
    "options_set_threads": [c_void_p, c_int],
    "options_set_precision": [c_void_p, c_int],
    "options_set_step": [c_void_p, c_double],
    "options_set_mirror": [c_void_p, c_int],
    "options_set_largest_component": [c_void_p, c_int],
    "options_set_allow_implausible_spacing": [c_void_p, c_int],
    "options_set_memory_limit": [c_void_p, c_int64],
    "model_load": [c_char_p, _OBJECT],
    "model_from_bytes": [c_char_p, c_size_t, c_char_p, _OBJECT],
    "model_json": [c_void_p, c_void_p, _INTS, _OBJECT],
    "image_open": [POINTER(c_char_p), c_int, _OBJECT],
    "image_open_dicom": [POINTER(c_char_p), c_int, POINTER(c_char_p), c_int, c_int, _OBJECT],
    "image_from_arrays": [_SHAPE, _DOUBLES, _DOUBLES, POINTER(c_void_p), _INTS, _SHAPE, c_int, c_char_p, _OBJECT],
    "image_from_slices": [_SHAPE, _DOUBLES, _DOUBLES, c_int, SLICE_READER, c_void_p, c_char_p, _OBJECT],
    "image_json": [c_void_p, _OBJECT],
    "request_create": [_OBJECT],
    "request_set_box": [c_void_p, _SHAPE, _SHAPE],
    "request_set_labels": [c_void_p, c_void_p, c_size_t],
    "request_set_probabilities": [c_void_p, c_void_p, c_size_t],
    "request_set_label_callback": [c_void_p, LABEL_CALLBACK, c_void_p],
    "request_set_progress": [c_void_p, PROGRESS, c_void_p],
    "request_set_mean_intensities": [c_void_p, c_int],
    "request_set_labels_file": [c_void_p, c_char_p],
    "request_set_dicom_reference": [c_void_p, c_char_p, c_char_p],
    "request_set_probabilities_file": [c_void_p, c_char_p],
    "request_set_preview_file": [c_void_p, c_char_p],
    "segmenter_create": [c_void_p, c_void_p, _OBJECT],
    "segment": [c_void_p, c_void_p, c_void_p, _OBJECT],
    "segmentation_json": [c_void_p, _OBJECT],
    "segmenter_forecast": [c_void_p, c_void_p, c_void_p, _OBJECT],
    "forecast_json": [c_void_p, _OBJECT],
    "patch_runner_create": [c_void_p, c_void_p, _INTS, c_char_p, _OBJECT],
    "patch_runner_run": [c_void_p, c_void_p, c_void_p],
    "patch_runner_json": [c_void_p, _OBJECT],
    "evaluate": [c_void_p, c_void_p, _SHAPE, _DOUBLES, c_double, _INTS, c_int, c_int, _OBJECT],
    "evaluate_files": [c_char_p, c_char_p, c_double, _INTS, c_int, c_int, _OBJECT],
    "scores_json": [c_void_p, _OBJECT],
}
# The others: what they return and what they take.
_VALUES = {
    "last_error": (c_char_p, []),
    "version": (c_char_p, []),
    "version_number": (c_int, []),
    "text_string": (c_char_p, [c_void_p]),
    "model_input_channels": (c_int, [c_void_p]),
    "model_classes": (c_int, [c_void_p]),
    "model_largest_label": (c_int, [c_void_p]),
    "model_patch_size": (None, [c_void_p, _INTS]),
    "model_label_count": (c_int, [c_void_p]),
    "model_label": (c_int, [c_void_p, c_int]),
    "model_label_name": (c_char_p, [c_void_p, c_int]),
    "model_parameters": (c_int64, [c_void_p]),
    "model_flops_paper": (c_double, [c_void_p]),
    "model_flops_executed": (c_double, [c_void_p]),
    "image_channels": (c_int, [c_void_p]),
    "image_geometry": (None, [c_void_p, _SHAPE, _DOUBLES, _DOUBLES]),
    "image_remarks": (c_char_p, [c_void_p]),
    "segmenter_threads": (c_int, [c_void_p]),
    "segmenter_planned_bytes": (c_int64, [c_void_p]),
    "patch_runner_patch": (None, [c_void_p, _INTS]),
    "scores_remarks": (c_char_p, [c_void_p]),
    "instruction_set": (c_char_p, []),
    "available_threads": (c_int, []),
    "resident_bytes": (c_int64, []),
    "peak_resident_bytes": (c_int64, []),
}
_FREE = ("text", "options", "model", "image", "request", "segmenter", "segmentation", "forecast", "patch_runner", "scores")


def _version_number(text):
    major, minor, patch = (int(part) for part in text.split("."))
    return major * 1000000 + minor * 1000 + patch


def _load_beside(folder):
    """Loads the libraries that libe2enet needs and that lie beside it, so that it finds them whatever the system has."""
    waiting = [path for path in sorted(glob.glob(os.path.join(folder, "lib*.so*")))
               if not os.path.basename(path).startswith("libe2enet.")]
    while waiting:
        left = []
        for path in waiting:
            try:
                ctypes.CDLL(path)
            except OSError as problem:  # perhaps it needs another one of them first
                left.append(path)
                reason = problem
        if len(left) == len(waiting):
            raise ImportError(f"{left[0]}: cannot be loaded: {reason}")
        waiting = left


def _open():
    """E2ENET_LIBRARY, or the library inside of the package, or that of the system."""
    told = os.environ.get("E2ENET_LIBRARY")
    inside = os.path.join(FOLDER, "lib", NAME)
    if told:
        path = told
    elif os.path.exists(inside):
        _load_beside(os.path.dirname(inside))
        path = inside
    else:
        path = NAME
    try:
        library = ctypes.CDLL(path)
    except OSError as problem:
        raise ImportError(f"{path}: the library cannot be loaded ({problem}); `pip install ./python` in the sources puts it "
                          "into the package, and E2ENET_LIBRARY names one elsewhere") from None
    for name, takes in _STATUS.items():
        function = getattr(library, "e2enet_" + name)
        function.restype, function.argtypes = c_int, takes
    for name, (gives, takes) in _VALUES.items():
        function = getattr(library, "e2enet_" + name)
        function.restype, function.argtypes = gives, takes
    for name in _FREE:
        function = getattr(library, f"e2enet_{name}_free")
        function.restype, function.argtypes = None, [c_void_p]
    if library.e2enet_version_number() < _version_number(__version__):
        raise ImportError(f"{path}: expected the library of version {__version__} or newer, found "
                          f"{library.e2enet_version().decode()}")
    return library


LIBRARY = _open()


def call(name, *arguments):
    """Calls e2enet_NAME; raises Error unless it succeeds."""
    status = getattr(LIBRARY, "e2enet_" + name)(*arguments)
    if status != 0:
        raise Error(status if status in ErrorCode._value2member_map_ else ErrorCode.INTERNAL,
                    LIBRARY.e2enet_last_error().decode(errors="replace"))


class Handle:
    """An object of the library, freed when nobody holds it any more."""

    def __init__(self, kind, name, *arguments):
        """Calls e2enet_NAME with a place for the object as the last argument."""
        self.free = getattr(LIBRARY, f"e2enet_{kind}_free")
        self.pointer = c_void_p()
        call(name, *arguments, ctypes.byref(self.pointer))

    @property
    def _as_parameter_(self):
        return self.pointer

    def __del__(self):
        pointer = getattr(self, "pointer", None)
        if pointer is not None and pointer.value:
            self.free(pointer)
            self.pointer = c_void_p()


def text_of(name, *arguments):
    """The text that e2enet_NAME gives."""
    return LIBRARY.e2enet_text_string(Handle("text", name, *arguments)).decode()


def lines(text):
    """What a function says, a line each."""
    return text.decode(errors="replace").splitlines()


def path_bytes(path):
    return os.fsencode(path)


def int64s(values):
    return (c_int64 * len(values))(*(int(value) for value in values))


def doubles(values):
    return (c_double * len(values))(*(float(value) for value in values))


def ints(values):
    return (c_int * len(values))(*(int(value) for value in values))


def library_version() -> str:
    """Of the library that does the work, which may be newer than the package: "0.2.0"."""
    return LIBRARY.e2enet_version().decode()


def instruction_set() -> str:
    """That the kernels use on this machine: "AVX3_ZEN4", "AVX2", "NEON"."""
    return LIBRARY.e2enet_instruction_set().decode()


def resident_bytes() -> int:
    """Memory of this process that is in RAM now, in bytes; 0 where the system does not tell."""
    return LIBRARY.e2enet_resident_bytes()


def peak_resident_bytes() -> int:
    """The most that ever was."""
    return LIBRARY.e2enet_peak_resident_bytes()
