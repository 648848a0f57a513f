"""What the network sees of each case, kept beside a run so that it is made once."""
from pathlib import Path
from typing import List

import numpy

from . import preprocess
from .files import write_atomically

FOREGROUND_VOXELS_A_CASE = 2000


def preprocess_cases(cases, plan: dict, folder: Path, report=print):
    """(image, labels) as .npy files per case, made once: an existing pair is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for index, case in enumerate(cases):
        image_path, label_path = folder / f"{case.name}_image.npy", folder / f"{case.name}_labels.npy"
        if not (image_path.exists() and label_path.exists()):
            orientation = plan["preprocessing"]["orientation"]
            volume = preprocess.read_volume(case.images, orientation)
            labels = preprocess.read_volume([case.label], orientation).data[0].astype(numpy.uint8)
            if labels.shape != volume.data.shape[1:]:
                raise preprocess.ImageError(
                    f"{case.label}: expected shape {volume.data.shape[1:]}, found {labels.shape}")
            data, labels, _ = preprocess.preprocess(volume, plan["preprocessing"], labels)
            write_atomically(image_path, lambda file: numpy.save(file, data))
            write_atomically(label_path, lambda file: numpy.save(file, labels))
            if (index + 1) % 50 == 0:
                report(f"preprocessed {index + 1} of {len(cases)} cases")
        pairs.append((str(image_path), str(label_path)))
    return pairs


def foreground_voxels(pairs) -> List[numpy.ndarray]:
    result = []
    for _, label_path in pairs:
        voxels = numpy.argwhere(numpy.load(label_path) > 0)
        if len(voxels) > FOREGROUND_VOXELS_A_CASE:
            chosen = numpy.random.default_rng(len(voxels)).choice(len(voxels), FOREGROUND_VOXELS_A_CASE, replace=False)
            voxels = voxels[chosen]
        result.append(voxels.astype(numpy.int32))
    return result
