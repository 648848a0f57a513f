"""Reading of NIfTI files, by the same rules as the program (docs/volumes.md). Every refusal is one line with the file's name.

Arrays are (depth, height, width) with depth the file's third axis, k; voxels are named (i, j, k) in messages, from 0.
"""
import logging
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy
from nibabel import Nifti1Header, Nifti2Header

from . import orientation as places
from .orientation import Grid, OrientationError, Turn, text_of

LOG = logging.getLogger("e2enet_train")

TYPES = (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280)
REFUSED_TYPES = {1: "one bit", 32: "complex", 128: "RGB colour", 1536: "128-bit float", 1792: "complex of doubles",
                 2048: "complex of 128-bit floats", 2304: "RGBA colour"}
MILLIMETRES = {1: 1000.0, 3: 0.001}  # by xyzt_units: metre, micrometre; else mm, or not said
HEADERS = {348: Nifti1Header, 540: Nifti2Header}
LABEL_TOLERANCE = 0.01
LARGEST_LABEL = 65535
SMALLEST_FIELD_OF_VIEW, LARGEST_FIELD_OF_VIEW = 5.0, 3000.0  # mm
SMALL_SPACING = 0.1  # mm; a few slices of larger voxels are no mistake
MOST_TIMES_OFF = 10.0
ROUNDING = 1e-6  # a spacing of exactly ten times the model's, in float32
NAMES_SHOWN = 3


class ImageError(ValueError):
    """An image is not what its case needs."""


@dataclass
class Volume:
    """data (C, D, H, W) as read and oriented, spacing in the same order."""

    data: numpy.ndarray
    spacing: Tuple[float, float, float]
    orientation: str


def some_of(names: Sequence[str]) -> str:
    shown = ", ".join(str(name) for name in names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


class Remarks:
    """What is to be said of files: one line for each kind, however many files it is true of, and once in a process."""

    _said = set()

    def __init__(self):
        self._paths = {}

    def add(self, path, texts) -> None:
        for text in texts:
            if (str(path), text) not in self._said:
                self._said.add((str(path), text))
                self._paths.setdefault(text, []).append(str(path))

    def say(self) -> None:
        for text, paths in self._paths.items():
            LOG.warning("warning: %s: %s", some_of(paths), text)
        self._paths.clear()


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------

def _unpacked(path, most: Optional[int] = None) -> bytes:
    """The bytes of a regular file, gunzipped where its content is gzip; at least the first `most` of them, if given."""
    try:
        # Opening a pipe would wait for someone to write into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageError(f"{path}: expected a file, found a folder, device or pipe")
            packed = file.read() if most is None else file.read(max(most, 65536))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    if packed[:2] != b"\x1f\x8b":
        return packed
    parts = []
    while packed[:2] == b"\x1f\x8b":  # a gzip file may have several members; what follows the last is nobody's
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            parts.append(stream.decompress(packed, most or 0))
        except zlib.error as error:
            raise ImageError(f"{path}: damaged: gzip: {error}") from None
        if most is not None:
            break
        if not stream.eof:
            raise ImageError(f"{path}: the gzip stream is cut short after {sum(map(len, parts))} bytes")
        packed = stream.unused_data
    return b"".join(parts)


@dataclass
class _Header:
    grid: Grid
    type: numpy.dtype
    offset: int
    slope: float
    intercept: float


def _parse(path, content: bytes) -> _Header:
    def refuse(where, expected, found):
        raise ImageError(f"{path}: {where}: expected {expected}, found {found}")

    sizes = {int.from_bytes(content[:4], order): order for order in ("little", "big")}
    size = next((size for size in HEADERS if size in sizes), None)
    if size is None or len(content) < 4:
        refuse("sizeof_hdr", "a NIfTI header (348 or 540)", int.from_bytes(content[:4], "little")
               if len(content) >= 4 else f"{len(content)} bytes in all")
    if len(content) < size:
        refuse("header", f"{size} bytes", f"{len(content)}: the file is cut short")
    header = HEADERS[size](content[:size], endianness="<" if sizes[size] == "little" else ">", check=False)
    magic = header["magic"].item()
    if magic[:3] != (b"n+1" if size == 348 else b"n+2"):
        refuse("magic", "that of a single NIfTI file", repr(magic.decode("latin-1")))
    remarks = []
    code = int(header["datatype"])
    if code not in TYPES:
        refuse("datatype", f"an integer or real type {TYPES}",
               f"{code} ({REFUSED_TYPES[code]})" if code in REFUSED_TYPES else code)
    kind = header.get_data_dtype()
    if int(header["bitpix"]) not in (0, 8 * kind.itemsize):
        remarks.append("bitpix does not fit the datatype, which counts")
    dimensions = [int(value) for value in header["dim"]]
    if not 3 <= dimensions[0] <= 7:
        refuse("dim[0]", "a volume of 3 dimensions", dimensions[0])
    for axis in range(1, dimensions[0] + 1):
        if axis <= 3 and dimensions[axis] < 1:
            refuse(f"dim[{axis}]", "a size of at least 1", dimensions[axis])
        if axis > 3 and dimensions[axis] not in (0, 1):
            refuse(f"dim[{axis}]", "a single volume (1)", dimensions[axis])
        if axis > 3 and dimensions[axis] == 0:
            remarks.append("a size of 0 after the third counts as 1")
    pixdim = [float(value) for value in header["pixdim"][1:4]]
    for axis, value in enumerate(pixdim):
        if value == 0 or not numpy.isfinite(value):
            refuse(f"pixdim[{axis + 1}]", "a spacing above 0", f"{value:g}")
    if min(pixdim) < 0:
        remarks.append("a pixdim is negative, its magnitude counts")
    offset = float(header["vox_offset"])
    smallest = size + 4
    if offset == 0 and not (len(content) > size and content[size] != 0):
        remarks.append("vox_offset is 0, voxels are taken to follow the header")
        offset = smallest
    if not (smallest <= offset < 2**50 and offset == int(offset)):
        refuse("vox_offset", f"a whole number of bytes, at least {smallest}", f"{offset:g}")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or numpy.isnan(slope):  # both mean "not scaled"
        slope, intercept = 1.0, 0.0
    if not (numpy.isfinite(slope) and numpy.isfinite(intercept)):
        refuse("scl_slope and scl_inter", "finite numbers", f"{slope:g} and {intercept:g}")
    spacing = [abs(value) for value in pixdim]
    try:
        affine, located, more = places.matrix_in_use(header, spacing)
    except OrientationError as error:
        raise ImageError(f"{path}: {error}") from None
    scale = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    affine = affine.copy()
    affine[:3] *= scale
    grid = Grid(tuple(dimensions[1:4]), tuple(value * scale for value in spacing), affine, located, remarks + more)
    return _Header(grid, kind, int(offset), slope, intercept)


def read_grid(path) -> Grid:
    """Where a file's voxels lie, from its header alone."""
    return _parse(path, _unpacked(path, most=1024)).grid


def _read(path):
    """(Grid, voxels [i, j, k] as stored, scaled in double where the header says so)."""
    content = _unpacked(path)
    header = _parse(path, content)
    count = int(numpy.prod(header.grid.shape, dtype=numpy.int64))
    if len(content) < header.offset + count * header.type.itemsize:
        raise ImageError(f"{path}: voxel data: expected {header.offset + count * header.type.itemsize} bytes, "
                         f"found {len(content)}: the file is cut short")
    voxels = numpy.frombuffer(content, header.type, count, header.offset).reshape(header.grid.shape, order="F")
    if (header.slope, header.intercept) != (1.0, 0.0):
        voxels = voxels.astype(numpy.float64) * header.slope + header.intercept
    return header.grid, voxels


def _first(mask: numpy.ndarray) -> Tuple[int, int, int]:
    """The first voxel of a mask in the file's order."""
    k, j, i = numpy.argwhere(mask.transpose(2, 1, 0))[0].tolist()
    return i, j, k


def _read_image(path):
    grid, stored = _read(path)
    with numpy.errstate(over="ignore"):  # beyond float32 is infinite, and refused as that
        voxels = stored.astype(numpy.float32)
    infinite = numpy.isinf(voxels)
    if infinite.any():
        voxel = _first(infinite)
        raise ImageError(f"{path}: voxel {voxel}: expected a finite number, found {stored[voxel]:g}")
    if numpy.isnan(voxels).any():
        grid.remarks.append("voxels that are not numbers (NaN) are taken as 0")
    return grid, voxels


def _read_labels(path, values: Optional[Sequence[int]]):
    """Whole numbers: rounded where they are near enough, refused where they are not, or not among `values`."""
    grid, stored = _read(path)
    labels = stored
    if stored.dtype.kind == "f":
        labels = numpy.rint(stored)
        with numpy.errstate(invalid="ignore"):
            wrong = ~(numpy.abs(stored - labels) <= LABEL_TOLERANCE)  # true for NaN and infinity too
        if wrong.any():
            voxel = _first(wrong)
            raise ImageError(f"{path}: voxel {voxel}: expected a label (a whole number, within {LABEL_TOLERANCE}), "
                             f"found {stored[voxel]:.9g}")
    wrong = (labels < 0) | (labels > LARGEST_LABEL)
    expected = f"a whole number from 0 to {LARGEST_LABEL}"
    if values is not None:
        wrong |= ~numpy.isin(labels, list(values))
        expected = f"one of the data set's, {text_of_labels(values)}"
    if wrong.any():
        voxel = _first(wrong)
        raise ImageError(f"{path}: voxel {voxel}: expected a label ({expected}), found {labels[voxel]:g}")
    largest = int(labels.max()) if values is None else max(values)
    return grid, labels.astype(numpy.uint8 if largest <= 255 else numpy.uint16)


def text_of_labels(values) -> str:
    values = sorted(values)
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(str(value) for value in values)


# ---------------------------------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------------------------------

def _to_depth_first(array: numpy.ndarray) -> numpy.ndarray:
    return numpy.ascontiguousarray(array.transpose(2, 1, 0))


def _read_channels(paths, orientation, remarks):
    """(Volume, the first channel's Grid, the Turn that was made)."""
    channels, first, turn = [], None, None
    for path in paths:
        grid, voxels = _read_image(path)
        if remarks is not None:
            remarks.add(path, grid.remarks)
        try:
            if first is None:
                first = grid
                turn = (Turn((0, 1, 2), (False, False, False)) if orientation is None
                        else places.turn_to(grid.affine, orientation))
            elif grid.shape != first.shape:
                raise OrientationError(f"dim: expected {text_of(first.shape)} voxels as in {paths[0]}, "
                                       f"found {text_of(grid.shape)}")
            else:
                places.require_same_place(first, grid, grid.affine, grid.spacing, paths[0])
        except OrientationError as error:
            raise ImageError(f"{path}: {error}") from None
        channels.append(_to_depth_first(turn.of(voxels)))
    code = places.code_of(turn.of_affine(first.affine, first.shape))
    return Volume(numpy.stack(channels), turn.of_axes(first.spacing)[::-1], code), first, turn


def read_volume(paths: List, orientation: Optional[str] = None, remarks: Optional[Remarks] = None) -> Volume:
    """Reads one file per channel, all on one grid, brought to `orientation` (losslessly) if there is one."""
    return _read_channels(paths, orientation, remarks)[0]


def read_case(images: List, label: Path, orientation: Optional[str] = None, values: Optional[Sequence[int]] = None,
              remarks: Optional[Remarks] = None):
    """(Volume, labels (D, H, W)): the label on the image's voxels, whichever way it is stored. `values`: those that a
    label may have; None: any."""
    volume, image_grid, turn = _read_channels(images, orientation, remarks)
    grid, labels = _read_labels(label, values)
    if remarks is not None:
        remarks.add(label, grid.remarks)
    try:
        onto = places.turn_onto(image_grid, grid, images[0])
    except OrientationError as error:
        raise ImageError(f"{label}: {error}") from None
    return volume, _to_depth_first(turn.of(onto.of(labels)))


def require_plausible_spacings(cases, preprocessing: Optional[dict] = None) -> None:
    """Refuses a case whose spacing cannot be meant: a field of view that no scanner has, or, where the plan's or model's
    preprocessing names a spacing, one that is more than ten times off."""
    for case in cases:
        path = case.images[0]
        grid = read_grid(path)
        for axis, (count, spacing) in enumerate(zip(grid.shape, grid.spacing)):
            view = count * spacing
            small = view < SMALLEST_FIELD_OF_VIEW and spacing < SMALL_SPACING * (1 - ROUNDING)
            if small or view > LARGEST_FIELD_OF_VIEW * (1 + ROUNDING):
                raise ImageError(f"{path}: pixdim[{axis + 1}]: expected a field of view of {SMALLEST_FIELD_OF_VIEW:g} mm to "
                                 f"{LARGEST_FIELD_OF_VIEW / 1000:g} m, found {count} voxels of {spacing:g} mm, {view:g} mm "
                                 "in all (are its units right? --force takes it)")
        target = (preprocessing or {}).get("spacing")
        if target is None:
            continue
        code = preprocessing.get("orientation")
        turn = places.turn_to(grid.affine, code) if code else Turn((0, 1, 2), (False, False, False))
        depth_first = turn.of_axes(grid.spacing)[::-1]
        spacing = [depth_first[axis] for axis in preprocessing.get("transpose_forward", (0, 1, 2))]
        if any(max(a / b, b / a) > MOST_TIMES_OFF * (1 + ROUNDING) for a, b in zip(spacing, target)):
            raise ImageError(f"{path}: pixdim: expected a spacing within {MOST_TIMES_OFF:g} times of the model's "
                             f"{text_of(float(value) for value in target)} mm (d x h x w), found {text_of(spacing)} mm "
                             "(are its units right? --force takes it)")
