"""What the training images were like, for the model file: so that whoever runs the model can be told when an image is unlike
them (docs/model-file.md, `training_images`)."""
from typing import Dict, List, Optional, Sequence, Tuple

import numpy

# As in src/model/training_images.h.
PERCENTAGES = (25, 50, 75, 90, 99)


def _range(values, decimals: int) -> List[float]:
    values = numpy.asarray(values, dtype=float)
    return [round(float(values.min()), decimals), round(float(values.max()), decimals)]


def describe(pairs: Sequence[Tuple[str, str]], plan: dict, labels: Dict[int, str]) -> Optional[dict]:
    """The key `training_images` from the prepared arrays of the training cases, (image, labels) each; None where the network
    has no spacing of its own, so that arrays have no size in mm."""
    spacing = plan["preprocessing"].get("spacing")
    if spacing is None or not pairs:
        return None
    extents, quantiles, volumes = [], [], []
    voxel_ml = float(numpy.prod(spacing)) / 1000
    for image_path, label_path in pairs:
        image = numpy.load(image_path, mmap_mode="r")
        values = numpy.load(label_path, mmap_mode="r")
        extents.append([extent * step for extent, step in zip(image.shape[1:], spacing)])
        quantiles.append([numpy.percentile(channel.reshape(-1)[::7], PERCENTAGES) for channel in image])
        counts = numpy.bincount(numpy.asarray(values, dtype=numpy.int64).clip(0).reshape(-1), minlength=max(labels) + 1)
        volumes.append(counts * voxel_ml)
    extents, quantiles, volumes = numpy.array(extents), numpy.array(quantiles), numpy.array(volumes)
    return {
        "extent_mm": [_range(extents[:, axis], 1) for axis in range(3)],
        "input_quantiles": [[_range(quantiles[:, channel, q], 3) for q in range(len(PERCENTAGES))]
                            for channel in range(quantiles.shape[1])],
        "volumes_ml": {str(value): _range(volumes[:, value], 3) for value in labels if value != 0},
    }
