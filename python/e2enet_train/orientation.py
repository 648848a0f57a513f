"""Where the voxels of a NIfTI file lie: the rules of docs/volumes.md, "Orientation", as the program follows them.

Matrices are 4 x 4 in millimetres and take (i, j, k) of the file to a position, x to the right, y to the front, z upwards.
"""
import itertools
import math
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy

POSITIVE, NEGATIVE = "RAS", "LPI"
LARGEST_CODE = 5
MOST_SQUARED_QUATERNION = 1.001
SMALLEST_DETERMINANT = 1e-6
TIE = 1e-9
SPACING_TOLERANCE = 1e-3
# Scanners round positions differently from sequence to sequence; a tenth of a voxel changes no voxel's place.
PLACE_TOLERANCE_IN_VOXELS = 0.1


class OrientationError(ValueError):
    """What a header says of places cannot be used. The text names the field, not the file."""


@dataclass
class Grid:
    """shape and spacing (mm) of the axes i, j, k; `located` where the file tells how it lies."""

    shape: Tuple[int, int, int]
    spacing: Tuple[float, float, float]
    affine: numpy.ndarray
    located: bool
    remarks: List[str] = field(default_factory=list)


@dataclass
class Turn:
    """Axis a of the result is axis order[a] of the source, from its end where flip[a]."""

    order: Tuple[int, int, int]
    flip: Tuple[bool, bool, bool]

    def of(self, array: numpy.ndarray) -> numpy.ndarray:
        return array.transpose(self.order)[tuple(slice(None, None, -1 if flip else 1) for flip in self.flip)]

    def of_axes(self, values):
        return tuple(values[axis] for axis in self.order)

    def of_affine(self, affine: numpy.ndarray, shape) -> numpy.ndarray:
        """The matrix of the turned array."""
        result = affine.copy()
        for axis, (source, flip) in enumerate(zip(self.order, self.flip)):
            result[:3, axis] = -affine[:3, source] if flip else affine[:3, source]
            if flip:
                result[:3, 3] += affine[:3, source] * (shape[source] - 1)
        return result


def lengths(affine: numpy.ndarray) -> numpy.ndarray:
    return numpy.sqrt((affine[:3, :3]**2).sum(axis=0))


def is_usable(affine: numpy.ndarray) -> bool:
    if not numpy.isfinite(affine).all():
        return False
    product = float(lengths(affine).prod())
    return product > 0 and math.isfinite(product) and \
        abs(numpy.linalg.det(affine[:3, :3])) > SMALLEST_DETERMINANT * product


def sform(header) -> numpy.ndarray:
    rows = [[float(value) for value in header[name]] for name in ("srow_x", "srow_y", "srow_z")]
    return numpy.array([*rows, [0.0, 0.0, 0.0, 1.0]])


def qform(header, spacing) -> Optional[numpy.ndarray]:
    """NIfTI's method 2; None where the quaternion or the offset is none."""
    b, c, d = (float(header[f"quatern_{letter}"]) for letter in "bcd")
    offset = [float(header[f"qoffset_{letter}"]) for letter in "xyz"]
    squared = b * b + c * c + d * d
    if not (squared <= MOST_SQUARED_QUATERNION and numpy.isfinite(offset).all()):
        return None
    a = 0.0
    if 1.0 - squared < 1e-7:  # a half turn, up to rounding: the three must be made a unit vector
        length = math.sqrt(squared)
        b, c, d = b / length, c / length, d / length
    else:
        a = math.sqrt(1.0 - squared)
    sign = float(header["pixdim"][0])
    if sign < 0 and sign != -1:
        raise OrientationError(f"pixdim[0]: expected 1 or -1 where the qform is in use, found {sign:g}")
    rotation = numpy.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b]])
    affine = numpy.eye(4)
    affine[:3, :3] = rotation * [spacing[0], spacing[1], spacing[2] if sign >= 0 else -spacing[2]]
    affine[:3, 3] = offset
    return affine


def matrix_in_use(header, spacing):
    """(affine in the file's unit, whether the file tells it, remarks). `spacing` is |pixdim[1..3]|."""
    codes = {name: int(header[name]) for name in ("sform_code", "qform_code")}
    for name, code in codes.items():
        if code > LARGEST_CODE:
            raise OrientationError(f"{name}: expected 0 to {LARGEST_CODE}, found {code}")
    remarks = []
    if codes["sform_code"] > 0:
        affine = sform(header)
        if is_usable(affine):
            return affine, True, remarks
    if codes["qform_code"] > 0:
        affine = qform(header, spacing)
        if affine is not None and is_usable(affine):
            if codes["sform_code"] > 0:
                remarks.append("the sform is no usable matrix, the qform is used")
            return affine, True, remarks
    if codes["sform_code"] > 0 or codes["qform_code"] > 0:
        raise OrientationError("sform or qform: expected a matrix of three independent axes, as the codes promise, found none")
    remarks.append("the image does not tell its orientation (sform_code and qform_code are 0): taken as RAS")
    return numpy.diag([*spacing, 1.0]), False, remarks


def directions(affine: numpy.ndarray):
    """(world axis, whether it runs against it) of each of i, j, k."""
    size = lengths(affine)
    cosine = numpy.divide(affine[:3, :3], size, out=numpy.zeros((3, 3)), where=size > 0)
    world, best = (0, 1, 2), -1.0
    for order in itertools.permutations(range(3)):
        total = 0.0
        for axis in range(3):
            total += abs(cosine[order[axis], axis])
        if total > best + TIE:
            world, best = order, total
    return world, tuple(bool(cosine[world[axis], axis] < 0) for axis in range(3))


def code_of(affine: numpy.ndarray) -> str:
    world, negative = directions(affine)
    return "".join((NEGATIVE if against else POSITIVE)[axis] for axis, against in zip(world, negative))


def turn_to(affine: numpy.ndarray, code: str) -> Turn:
    """How to permute and flip axes so that they run as `code` says, for example RAS."""
    letters = {letter: (axis, against) for against, text in enumerate((POSITIVE, NEGATIVE))
               for axis, letter in enumerate(text)}
    if len(code) != 3 or {letters.get(letter, (None,))[0] for letter in code} != {0, 1, 2}:
        raise OrientationError("orientation: expected three letters, one of R/L, one of A/P, one of S/I, "
                               f"found {code!r}")
    world, negative = directions(affine)
    order = tuple(world.index(letters[letter][0]) for letter in code)
    return Turn(order, tuple(negative[axis] != bool(letters[letter][1]) for letter, axis in zip(code, order)))


def largest_displacement(a: numpy.ndarray, b: numpy.ndarray, shape, offsets: bool = True) -> float:
    """An upper bound, in mm, of how far the two matrices put one voxel of `shape` apart, along any world axis."""
    difference = numpy.abs(a - b)
    place = difference[:3, :3] @ (numpy.array(shape) - 1.0)
    return float((place + difference[:3, 3] if offsets else place).max())


def require_same_place(first: Grid, other: Grid, other_affine: numpy.ndarray, other_spacing, name_of_first) -> None:
    if any(abs(a - b) > SPACING_TOLERANCE * a for a, b in zip(first.spacing, other_spacing)):
        raise OrientationError(f"pixdim: expected {text_of(first.spacing)} mm as in {name_of_first}, "
                               f"found {text_of(other_spacing)} mm")
    # A file that does not tell where it lies cannot contradict a position.
    offsets = first.located and other.located
    apart = largest_displacement(first.affine, other_affine, first.shape, offsets)
    if apart > PLACE_TOLERANCE_IN_VOXELS * min(first.spacing):
        raise OrientationError(f"sform or qform: expected the same positions and directions as in {name_of_first}, "
                               f"found voxels up to {apart:.6g} mm apart")


def turn_onto(image: Grid, label: Grid, name_of_image) -> Turn:
    """How to permute and flip the label's axes so that its voxels are the image's. Refuses what needs more than that."""
    turn = Turn((0, 1, 2), (False, False, False))
    if image.located and label.located:
        steps = numpy.linalg.solve(image.affine[:3, :3], label.affine[:3, :3])  # [image axis, label axis], in voxels
        order = tuple(int(axis) for axis in numpy.abs(steps).argmax(axis=1))
        if sorted(order) == [0, 1, 2]:
            turn = Turn(order, tuple(bool(steps[axis, source] < 0) for axis, source in enumerate(order)))
    if turn.of_axes(label.shape) != image.shape:
        raise OrientationError(f"dim: expected {text_of(image.shape)} voxels as in {name_of_image}, "
                               f"found {text_of(turn.of_axes(label.shape))}")
    require_same_place(image, label, turn.of_affine(label.affine, label.shape), turn.of_axes(label.spacing), name_of_image)
    return turn


def text_of(values) -> str:
    return " x ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values)
