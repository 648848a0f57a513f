"""Segmentation of an image: how it would be done, and doing it."""

import json
import os
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy

from ._errors import Error, refuse
from ._images import label_type, like_the_image, open_image, series_texts, three
from ._library import LABEL_CALLBACK, LIBRARY, PROGRESS, Handle, call, int64s, path_bytes, text_of
from ._model import Model
from ._options import is_path, options, whole
from ._signals import WaitingSignals

PathLike = Union[str, "os.PathLike[str]"]
_STAGES = ("prepare", "segment", "export", "write")


class Progress(NamedTuple):
    """How far the work is."""

    stage: str                     # "prepare", "segment", "export" or "write"
    done: int                      # tiles in the stage "segment", steps otherwise
    total: int
    seconds_left: Optional[float]  # None while not known


class LabelStatistics(NamedTuple):
    """What is counted of one label."""

    name: str
    voxels: int
    ml: float                                   # voxels times the volume of one
    mean_intensity: Optional[Tuple[float, ...]]  # one a channel; None where not asked for or without voxels


class Segmentation:
    """What segment() found."""

    #: One label a voxel, of the kind of the image: an array (uint16), an image of nibabel or SimpleITK; the path where they
    #: were written to a file, and the caller's own array where there was one.
    labels: Any
    #: The same for probabilities (float32, a volume a class); None where not asked for.
    probabilities: Any
    #: Label value -> LabelStatistics: of every label of the model but the background, and every other that occurred.
    statistics: Dict[int, LabelStatistics]
    #: Of structures with a left and a right one: what `e2enet segment --json` says under "asymmetry".
    asymmetry: List[Dict[str, Any]]
    #: What the user should know of the image, a line each, warnings beginning with "warning: ".
    remarks: List[str]
    #: Whether the image had no nonzero voxel: everything is background.
    empty_image: bool
    #: Spacing in mm in the image's order of axes, and the 4x4 matrix from voxels (i, j, k, 1) to mm: to the right, to the
    #: front, upwards.
    spacing: Tuple[float, float, float]
    affine: numpy.ndarray
    #: All else that is known: seconds, runs of the network, the way it was done (segmentation_json() of json.h).
    details: Dict[str, Any]

    def __init__(self, labels, probabilities, image, details, mean_intensities):
        kind = image.kind
        self.labels = labels
        self.probabilities = probabilities
        self.statistics = {}
        for value, of_label in details["labels"].items():
            means = None
            if mean_intensities and of_label.get("mean_intensity") is not None:
                means = tuple(of_label.get("mean_intensity_per_channel", [of_label["mean_intensity"]]))
            self.statistics[int(value)] = LabelStatistics(of_label["name"], of_label["voxels"], of_label["ml"], means)
        self.asymmetry = details.get("asymmetry", [])
        self.remarks = details["remarks"]
        self.empty_image = details["empty_image"]
        self.spacing = kind.spacing[::-1] if kind.reverse else kind.spacing
        self.affine = kind.affine
        self.details = details

    def __repr__(self):
        found = ", ".join(f"{one.name} {one.ml:.2f} mL" for one in list(self.statistics.values())[:4])
        return f"<e2enet.Segmentation: {found}{', ...' if len(self.statistics) > 4 else ''}>"


class Forecast(NamedTuple):
    """How an image would be segmented."""

    fits: bool                  # within the memory limit
    seconds: float              # that the network takes; reading and writing come on top
    runs: int                   # of the network: tiles times mirrored copies
    peak_bytes: int             # resident memory of this process at the most
    smallest_limit_bytes: int   # the smallest `memory` that works
    details: Dict[str, Any]     # all of it: forecast_json() of json.h


class Segmenter:
    """A plan and its working memory for one model. The same input gives the same labels on every run, for every number of
    threads and every memory limit.

    threads: 0 for as many as this process may use; more are never started.
    memory: bytes of resident memory that this process may have at the most while it segments (an int, or "600M", "2G"), in
        the fastest way that fits; three quarters of what is free unless told.
    precision: how features are stored: "f32", "bf16" (half the memory, three decimal digits; labels change slightly), or
        "auto": f32, but bf16 for an image that does not fit otherwise.
    step: distance of neighbouring tiles as a fraction of the patch, at most 1.
    mirror: average over mirrored copies of each tile: better, 2 to 8 times slower.
    largest_component: of which labels only the largest piece is kept: "model" (those that the model names), "none", "all".
    allow_implausible_spacing: take an image whose spacing is most likely a mistaken unit, which is refused otherwise.

    Raises Error: INVALID_ARGUMENT, naming the option, OUT_OF_MEMORY. One thread works at a time, others wait for it; several
    segmenters may share a model and work at once, since Python's lock is free while the library works.
    """

    def __init__(self, model: Model, *, threads: int = 0, memory: Union[int, str, None] = None, precision: str = "f32",
                 step: float = 0.5, mirror: bool = False, largest_component: str = "model",
                 allow_implausible_spacing: bool = False):
        if not isinstance(model, Model):
            raise refuse(f"model: expected a Model (Model.load(path)), found {type(model).__name__}")
        self.model = model
        self._lock = threading.Lock()
        self._handle = Handle("segmenter", "segmenter_create", model._handle,
                              options(threads, precision, step, mirror, largest_component, allow_implausible_spacing, memory))

    @property
    def threads(self) -> int:
        """How many are used."""
        return LIBRARY.e2enet_segmenter_threads(self._handle)

    @property
    def planned_bytes(self) -> int:
        """Working memory of the network: features, scratch, packed weights."""
        return LIBRARY.e2enet_segmenter_planned_bytes(self._handle)

    def segment(self, x: Any, *, spacing: Optional[Sequence[float]] = None, affine: Any = None, axes: str = "kji",
                out: Any = None, box: Optional[Sequence[Sequence[int]]] = None, mean_intensities: bool = False,
                probabilities: Any = False, preview: Optional[PathLike] = None,
                progress: Optional[Callable[[Progress], Optional[bool]]] = None, name: Optional[str] = None,
                series: Any = None, regrid: bool = False, dicom_reference: Any = None) -> Segmentation:
        """Segments an image. No volume of the image is copied.

        x: the image, or a list with one a channel of
            - a path of a file (.nii, .nii.gz, .hdr, .img),
            - a DICOM series: the path of its folder, of its multi-frame file, or a list of all of its files,
            - a NumPy array, with `spacing` or `affine` or both: any type of real numbers and any order in memory;
              (D, H, W), or with channels (C, D, H, W). With axes="ijk" the axes are the other way round, as nibabel's arrays
              have them: (W, H, D), or (W, H, D, C). A list may hold arrays of different types,
            - an image of nibabel or of SimpleITK.
        spacing: mm between voxels, in the array's order of axes; without it, the lengths of the affine's columns.
        affine: 4x4, from voxels (i, j, k, 1) = (w, h, d, 1) to mm: to the right, to the front, upwards; without it the axes
            are taken to run exactly that way.
        out: where labels go: a path (.nii, .nii.gz, .hdr, .img; .dcm for a DICOM segmentation), or an array of the image's shape and of integers that hold
            the model's largest label. Without it, they are made: see Segmentation.labels.
        box: ((begin, end), (begin, end), (begin, end)) in voxels, half-open, in the image's order of axes (i, j, k for images
            of nibabel and SimpleITK): only these voxels are segmented, and outside is background.
        mean_intensities: also count the labels' mean intensities, which needs the image a second time.
        probabilities: True, a path, or an array of float32 of the shape (classes, D, H, W), or with axes="ijk" and for
            nibabel (W, H, D, classes).
        preview: a path (.png) for a picture: three views with the labels in colour.
        progress: called with a Progress at least once a tile; if it returns False, Error (CANCELLED) is raised; what it
            raises ends the work and comes out.
        name: stands for an array in messages.
        series: of DICOM where there are several: a UID or a number, or a list with one a channel.
        regrid: of DICOM: take slices at uneven distances; the labels in a DICOM segmentation are on the real ones.
        dicom_reference: for an image that is no DICOM itself and `out` NAME.dcm: the path of the series that it was converted
            from, or (path, series) where there are several.

        Files appear when everything else is done, the labels' last, and not at all where something is raised. Ctrl-C
        ends the work within one tile. Raises Error: INVALID_ARGUMENT, INVALID_IMAGE, CANNOT_READ, CANNOT_WRITE,
        MEMORY_LIMIT, CANCELLED, OUT_OF_MEMORY.
        """
        image = open_image(x, spacing, affine, axes, name, series, regrid)
        request = _Request(self.model, image, box, mean_intensities)
        if dicom_reference is not None:
            request.refer_to(dicom_reference)
        give_labels = request.labels_to(out)
        give_probabilities = request.probabilities_to(probabilities)
        if preview is not None:
            call("request_set_preview_file", request.handle, path_bytes(preview))
        with self._lock, WaitingSignals() as signals:
            request.watch(progress, signals)
            try:
                found = Handle("segmentation", "segment", self._handle, image, request.handle)
            except Error:
                if request.raised is not None:
                    raise request.raised from None
                raise
            finally:
                request.finish()
        details = json.loads(text_of("segmentation_json", found))
        return Segmentation(give_labels(), give_probabilities(), image, details, mean_intensities)

    def forecast(self, x: Any, *, spacing: Optional[Sequence[float]] = None, affine: Any = None, axes: str = "kji",
                 box: Optional[Sequence[Sequence[int]]] = None, mean_intensities: bool = False,
                 probabilities: bool = False, name: Optional[str] = None, series: Any = None,
                 regrid: bool = False) -> Forecast:
        """How segment() would do it: time, memory, and whether it fits. No voxel is read; the network runs twice on noise the
        first time, to know its speed. The arguments are segment()'s."""
        image = open_image(x, spacing, affine, axes, name, series, regrid)
        request = _Request(self.model, image, box, mean_intensities)
        # Arrays that nobody writes take no memory.
        request.labels_to(None)
        request.probabilities_to(bool(probabilities))
        with self._lock:
            forecast = Handle("forecast", "segmenter_forecast", self._handle, image, request.handle)
        request.finish()
        details = json.loads(text_of("forecast_json", forecast))
        return Forecast(details["fits"], details["seconds_network"], details["runs"], details["peak_bytes"],
                        details["smallest_limit_bytes"], details)


class _Request:
    """What is wanted of an image, and what must stay until the work is done."""

    def __init__(self, model, image, box, mean_intensities):
        self.handle = Handle("request", "request_create")
        self.raised = None
        self._model = model
        self._image = image
        self._keep = []
        call("request_set_mean_intensities", self.handle, bool(mean_intensities))
        if box is not None:
            try:
                begins, ends = zip(*((begin, end) for begin, end in box))
            except (TypeError, ValueError):
                raise refuse(f"box: expected three pairs (begin, end) of voxels, found {box!r}") from None
            of_axis = [three("box", side, image.kind.reverse, lambda value: whole("box", value)) for side in (begins, ends)]
            call("request_set_box", self.handle, int64s(of_axis[0]), int64s(of_axis[1]))

    def labels_to(self, out):
        """Says where labels go; gives a function that gives them back."""
        kind = self._image.kind
        if out is not None and is_path(out):
            call("request_set_labels_file", self.handle, path_bytes(out))
            return lambda: out
        if out is not None and not isinstance(out, numpy.ndarray):
            raise refuse(f"out: expected a path or a NumPy array, found {type(out).__name__}")
        given = out is not None
        if given:
            # What numpy calls (i, j, k) of an image of nibabel; those of SimpleITK have arrays of k, j, i.
            array = out.T if kind.reverse and kind.name != "SimpleITK" else out
            if array.shape != kind.shape:
                raise refuse(f"out: expected an array of the image's shape, found {out.shape}")
            if not array.flags.writeable or array.dtype.kind not in "ui":
                raise refuse(f"out: expected a writable array of integers, found {array.dtype}")
            if self._model.largest_label > numpy.iinfo(array.dtype).max:
                raise refuse(f"out: expected a type that holds labels up to {self._model.largest_label}, found {array.dtype}")
        else:
            array = numpy.empty(kind.shape, label_type(kind, self._model.largest_label))
        if array.dtype == numpy.uint16 and array.dtype.isnative and array.flags.c_contiguous and array.flags.aligned:
            call("request_set_labels", self.handle, array.ctypes.data, array.size)
        else:
            self._stream_labels(array)
        self._keep.append(array)
        return lambda: out if given else like_the_image(array, kind)

    def refer_to(self, reference):
        """The DICOM series on whose slices a segmentation is to be."""
        path, series = reference if isinstance(reference, tuple) and len(reference) == 2 else (reference, None)
        if not is_path(path):
            raise refuse(f"dicom_reference: expected a path, or (path, series), found {reference!r}")
        wanted = series_texts("dicom_reference", series)
        if len(wanted) > 1:
            raise refuse(f"dicom_reference: expected one series, found {len(wanted)}")
        call("request_set_dicom_reference", self.handle, path_bytes(path), wanted[0] if wanted else None)

    def _stream_labels(self, array):
        def take(_, first, slices, labels):
            try:
                array[first:first + slices] = numpy.ctypeslib.as_array(labels, (slices, *array.shape[1:]))
                return 0
            except BaseException as problem:  # it must not leave a function that C calls
                self.raised = problem
                return 1

        callback = LABEL_CALLBACK(take)
        self._keep.append(callback)
        call("request_set_label_callback", self.handle, callback, None)

    def probabilities_to(self, wanted):
        """As labels_to()."""
        kind, classes = self._image.kind, self._model.classes
        if wanted is None or wanted is False:
            return lambda: None
        if is_path(wanted):
            call("request_set_probabilities_file", self.handle, path_bytes(wanted))
            return lambda: wanted
        if wanted is True:
            array = numpy.empty((classes, *kind.shape), numpy.float32)
        elif isinstance(wanted, numpy.ndarray):
            array = wanted.T if kind.reverse and kind.name != "SimpleITK" else wanted
            if array.shape != (classes, *kind.shape) or array.dtype != numpy.float32 or not array.flags.c_contiguous \
                    or not array.flags.writeable or not array.dtype.isnative:
                raise refuse(f"probabilities: expected True, a path or a writable array of float32 without gaps, of {classes} "
                             f"classes times the image's shape, found {wanted.dtype} of the shape {wanted.shape}")
        else:
            raise refuse(f"probabilities: expected True, a path or an array, found {type(wanted).__name__}")
        call("request_set_probabilities", self.handle, array.ctypes.data, array.size)
        self._keep.append(array)
        return lambda: wanted if wanted is not True else like_the_image(array, kind)

    def finish(self):
        """Lets go of the callbacks, which hold this object: the image's arrays would stay until Python looks for circles."""
        self._keep.clear()
        self._image = self.handle = None

    def watch(self, progress, signals):
        """Reports to the caller's function, if there is one, and lets signals in."""
        def report(_, stage, done, total, seconds_left):
            try:
                signals.run()
                if progress is None:
                    return 1
                name = _STAGES[stage] if stage < len(_STAGES) else str(stage)
                return progress(Progress(name, done, total, seconds_left if seconds_left >= 0 else None)) is not False
            except BaseException as problem:  # it must not leave a function that C calls
                self.raised = problem
                return 0

        callback = PROGRESS(report)
        self._keep.append(callback)
        call("request_set_progress", self.handle, callback, None)
