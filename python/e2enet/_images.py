"""What callers have as images - files, arrays, images of nibabel or SimpleITK - as the library's image, and labels back.

Neither nibabel nor SimpleITK is imported: whoever has an image of theirs has imported them.
"""

import ctypes
import sys
from typing import NamedTuple, Optional

import numpy

from ._errors import refuse
from ._library import LIBRARY, SLICE_READER, Handle, doubles, int64s, ints, path_bytes
from ._options import is_path

SCALARS = {numpy.dtype(name): number for number, name in enumerate(
    ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"))}
SCALARS[numpy.dtype(bool)] = 0


def is_of(value, package):
    """Whether the type of a value, or one that it derives from, is a package's."""
    return any(one.__module__.split(".")[0] == package for one in type(value).__mro__)


def is_nibabel(value):
    return is_of(value, "nibabel") and hasattr(value, "dataobj") and hasattr(value, "affine")


def is_simpleitk(value):
    return is_of(value, "SimpleITK") and hasattr(value, "GetDirection")


def itk_affine(image):
    """ITK's axes run to the left and to the back; NIfTI's to the right and to the front."""
    matrix = numpy.eye(4)
    matrix[:3, :3] = numpy.reshape(image.GetDirection(), (3, 3)) * numpy.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def _mm(image):
    """What a length of an image of nibabel is in mm: formats may store metres or micrometres, and nibabel leaves them."""
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm", "sec"))()[0]
    return {"meter": 1000.0, "micron": 0.001}.get(units, 1.0)


class Kind(NamedTuple):
    """How labels go back to the caller."""

    name: str                # "path", "array", "nibabel" or "SimpleITK"
    reverse: bool            # whether the caller's axes are i, j, k = W, H, D
    like: Optional[object]   # the first image
    shape: tuple             # D, H, W
    affine: numpy.ndarray    # 4x4, (i, j, k, 1) to mm
    spacing: tuple           # D, H, W


class Image:
    """The library's image and what must stay while it is used."""

    def __init__(self, handle, kind, keep):
        self.handle = handle
        self.kind = kind
        self._keep = keep

    @property
    def _as_parameter_(self):
        return self.handle.pointer

    @property
    def voxels(self):
        return int(numpy.prod(self.kind.shape, dtype=numpy.int64))


def _axes(axes):
    if axes == "kji":
        return False
    if axes == "ijk":
        return True
    raise refuse(f"axes: expected 'kji' (D, H, W) or 'ijk' (W, H, D), found {axes!r}")


def three(name, values, reverse, kind=float):
    """Three numbers in the caller's order of axes as D, H, W."""
    try:
        numbers = [kind(value) for value in values]
    except (TypeError, ValueError):
        raise refuse(f"{name}: expected three numbers, found {values!r}") from None
    if len(numbers) != 3:
        raise refuse(f"{name}: expected three numbers, found {len(numbers)}")
    return numbers[::-1] if reverse else numbers


def _affine(affine):
    matrix = numpy.asarray(affine, dtype=numpy.float64)
    if matrix.shape != (4, 4):
        raise refuse(f"affine: expected a 4x4 matrix, found the shape {matrix.shape}")
    return matrix


def _channels(arrays, reverse):
    """Arrays of 3 axes, or one of 4 with the channels first (D, H, W after them) or, in i, j, k order, last; as D, H, W."""
    result = []
    for array in arrays:
        array = numpy.asanyarray(array)
        if array.ndim == 3:
            parts = [array]
        elif array.ndim == 4 and len(arrays) == 1:
            parts = [array[..., c] for c in range(array.shape[3])] if reverse else list(array)
        else:
            raise refuse(f"image: expected arrays of three axes, or one of four, found {array.ndim} axes")
        for part in parts:
            if part.dtype.kind not in "buif":
                raise refuse(f"image: expected numbers, found the type {part.dtype}")
            result.append(part.T if reverse else part)
    if not result:
        raise refuse("image: expected a channel or more, found none")
    if any(part.shape != result[0].shape for part in result):
        raise refuse("image: expected channels of one shape, found " + ", ".join(str(part.shape) for part in result))
    return result


def _has_strides(array):
    """Whether the library can read it where it is: a type that it knows, and strides that it does not take for none."""
    return array.dtype in SCALARS and array.dtype.isnative and (array.size == 0 or any(array.strides))


def of_arrays(arrays, reverse, spacing, affine, name):
    """The library's image over arrays. Those of a type that it does not know are converted some slices at a time."""
    channels = _channels(arrays, reverse)
    shape = channels[0].shape
    if spacing is None and affine is None:
        raise refuse("image: expected a spacing (mm along each axis) or an affine beside an array, found neither")
    geometry = (int64s(shape), doubles(spacing) if spacing is not None else None,
                doubles(affine.ravel()) if affine is not None else None)
    if all(_has_strides(array) for array in channels):
        count = len(channels)
        firsts = (ctypes.c_void_p * count)(*(array.ctypes.data for array in channels))
        types = ints([SCALARS[array.dtype] for array in channels])
        strides = int64s([stride for array in channels for stride in array.strides])
        handle = Handle("image", "image_from_arrays", *geometry, firsts, types, strides, count, name)
        return handle, channels
    slice_shape = shape[1:]

    def read(_, channel, first, count, values):
        try:
            to = numpy.ctypeslib.as_array(values, (count, *slice_shape))
            to[...] = channels[channel][first:first + count]
            return 0
        except Exception:  # it must not leave a function that C calls
            return 1

    reader = SLICE_READER(read)
    handle = Handle("image", "image_from_slices", *geometry, len(channels), reader, None, name)
    return handle, (channels, reader)


def series_texts(name, series):
    """UIDs or numbers of DICOM series, one or several, as the library takes them."""
    if series is None:
        return []
    several = series if isinstance(series, (list, tuple)) else [series]
    if any(not isinstance(one, (str, int)) or isinstance(one, bool) or one == "" for one in several):
        raise refuse(f"{name}: expected a UID or a number, or one a channel, found {series!r}")
    return [str(one).encode() for one in several]


def open_image(x, spacing=None, affine=None, axes="kji", name=None, series=None, regrid=False):
    """The library's image of whatever callers have."""
    wanted = series_texts("series", series)
    several = isinstance(x, (list, tuple))
    items = list(x) if several else [x]
    if not items:
        raise refuse("image: expected a channel or more, found an empty list")
    first = items[0]
    if is_path(first):
        if not all(is_path(item) for item in items):
            raise refuse("image: expected channels of one kind, found files and others")
        if spacing is not None or affine is not None:
            raise refuse("spacing, affine: expected neither beside files, which say where they lie")
        paths = (ctypes.c_char_p * len(items))(*(path_bytes(item) for item in items))
        of_series = (ctypes.c_char_p * len(wanted))(*wanted)
        handle = Handle("image", "image_open_dicom", paths, len(items), of_series, len(wanted), int(bool(regrid)))
        keep, kind, reverse, like = None, "path", _axes(axes), None
    elif wanted or regrid:
        raise refuse("series, regrid: expected neither beside an image that is no DICOM series by path")
    elif is_nibabel(first) or is_simpleitk(first):
        nibabel = is_nibabel(first)
        kind, reverse, like = ("nibabel", True, first) if nibabel else ("SimpleITK", True, first)
        if not all((is_nibabel if nibabel else is_simpleitk)(item) for item in items):
            raise refuse(f"image: expected channels of one kind, found images of {kind} and others")
        if spacing is not None or affine is not None:
            raise refuse(f"spacing, affine: expected neither beside an image of {kind}, which says where it lies")
        scales = [_mm(item) if nibabel else 1.0 for item in items]
        affines = [numpy.diag([scale, scale, scale, 1.0]) @ _affine(item.affine if nibabel else itk_affine(item))
                   for item, scale in zip(items, scales)]
        if any(not numpy.allclose(other, affines[0], rtol=0, atol=1e-3) for other in affines):
            raise refuse("image: expected channels that lie on the same voxels, found other affines")
        if nibabel:
            arrays = [numpy.asanyarray(item.dataobj) for item in items]
            zooms = first.header.get_zooms()[:3]
            sizes = [float(zoom) * scales[0] for zoom in zooms[::-1]]
            handle, keep = of_arrays(arrays, True, sizes, affines[0], _name(name, "image"))
        else:
            view = sys.modules["SimpleITK"].GetArrayViewFromImage
            if first.GetDimension() != 3:
                raise refuse(f"image: expected three axes, found {first.GetDimension()}")
            arrays = [view(item) for item in items]
            if len(arrays) == 1 and arrays[0].ndim == 4:  # a vector a voxel
                arrays = [arrays[0][..., c] for c in range(arrays[0].shape[3])]
            sizes = [float(size) for size in first.GetSpacing()[::-1]]
            handle, keep = of_arrays(arrays, False, sizes, affines[0], _name(name, "image"))
        keep = (keep, items)
    else:
        kind, reverse, like = "array", _axes(axes), None
        sizes = None if spacing is None else three("spacing", spacing, reverse)
        matrix = None if affine is None else _affine(affine)
        handle, keep = of_arrays(items, reverse, sizes, matrix, _name(name, "image"))
    shape, found_spacing, found_affine = int64s([0] * 3), doubles([0] * 3), doubles([0] * 16)
    LIBRARY.e2enet_image_geometry(handle, shape, found_spacing, found_affine)
    return Image(handle, Kind(kind, reverse, like, tuple(shape), numpy.array(found_affine).reshape(4, 4),
                              tuple(found_spacing)), keep)


def _name(name, usual):
    return path_bytes(usual if name is None else name)


def label_type(kind, largest):
    """The type of the labels that go back: uint16, but for an image of nibabel the smallest that its format stores."""
    if kind.name != "nibabel":
        return numpy.dtype(numpy.uint16)
    for name in ("uint8", "uint16", "int16", "int32"):
        if largest > numpy.iinfo(name).max:
            continue
        try:
            kind.like.header.copy().set_data_dtype(numpy.dtype(name))
        except Exception:  # nibabel's HeaderDataError: the format has no such type
            continue
        return numpy.dtype(name)
    raise refuse(f"image: expected a format of images that stores labels up to {largest}, found {type(kind.like).__name__}")


def like_the_image(array, kind):
    """Labels or probabilities, an array in D, H, W order with the classes of probabilities first, as what the image was."""
    if kind.name == "SimpleITK":
        itk = sys.modules["SimpleITK"]
        vector = array.ndim == 4
        made = itk.GetImageFromArray(numpy.moveaxis(array, 0, -1) if vector else array, isVector=vector)
        made.SetSpacing(kind.like.GetSpacing())
        made.SetOrigin(kind.like.GetOrigin())
        made.SetDirection(kind.like.GetDirection())
        return made
    if kind.reverse:
        array = array.T  # (i, j, k), or (i, j, k, class)
    if kind.name != "nibabel":
        return array
    header = kind.like.header.copy()
    header.set_data_dtype(array.dtype)
    for field in ("cal_min", "cal_max"):  # the display window of the image, in which labels would be black
        if field in getattr(header, "keys", tuple)():
            header[field] = 0
    return type(kind.like)(array, kind.like.affine, header)
