"""3D medical image segmentation with E2ENet on machines without a GPU.

    import e2enet

    segmenter = e2enet.Segmenter(e2enet.Model.load("hippocampus.safetensors"))
    segmenter.segment("head.nii.gz", out="labels.nii.gz")      # files
    found = segmenter.segment(voxels, spacing=(1.2, 1, 1))     # an array: found.labels is one too
    found.labels, found.statistics[1].ml

The work is done by libe2enet (docs/embedding.md); NumPy is all that this package needs. Lengths are mm. Docstrings name
shapes by the axes D, H, W (depth, height, width; the k, j, i of a NIfTI file): see Segmenter.segment() for arrays in
another order.
"""

from ._errors import Error, ErrorCode
from ._evaluate import LabelScore, Scores, evaluate
from ._library import instruction_set, library_version, peak_resident_bytes, resident_bytes
from ._model import Model
from ._profile import info, profile
from ._segmenter import Forecast, LabelStatistics, Progress, Segmentation, Segmenter
from ._version import __version__

__all__ = [
    "Error", "ErrorCode", "Forecast", "LabelScore", "LabelStatistics", "Model", "Progress", "Scores", "Segmentation",
    "Segmenter", "evaluate", "info", "instruction_set", "library_version", "peak_resident_bytes", "profile",
    "resident_bytes", "__version__",
]
