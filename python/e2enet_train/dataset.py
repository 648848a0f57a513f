"""Which cases there are: an nnU-Net style folder and the small JSON that describes it.

    DATA/imagesTr/CASE_0000.nii.gz, CASE_0001.nii.gz ...   one file per channel
    DATA/labelsTr/CASE.nii.gz
    DATA/dataset.json

`images` and `labels` are accepted as folder names too, and `CASE.nii.gz` as an image where there is one channel. The
JSON may have the keys of either version of nnU-Net; those used are

    name, description, reference, licence   copied into the model file's provenance
    channel_names (or modality)             {"0": "MRI"}; a channel named CT is normalised as CT
    labels                                  {"background": 0, "anterior": 1} or {"0": "background", "1": "anterior"}
"""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

import numpy

FILE_ENDINGS = (".nii.gz", ".nii")
PROVENANCE_KEYS = ("name", "description", "reference", "licence", "release")


class DatasetError(ValueError):
    """The folder or its JSON is not what a data set must be."""


@dataclass
class Case:
    name: str
    images: List[Path]
    label: Path


@dataclass
class Description:
    channels: List[str]
    labels: Dict[int, str]
    provenance: Dict[str, str]

    @property
    def classes(self) -> int:
        return len(self.labels)


def read_description(path: Path) -> Description:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: not JSON: {error}") from error
    channels = values.get("channel_names", values.get("modality"))
    if (not isinstance(channels, dict) or not channels
            or set(channels) != {str(index) for index in range(len(channels))}):
        raise DatasetError(f'{path}: channel_names: expected an object {{"0": NAME, "1": NAME, ...}}, '
                           f"found {channels!r}")
    entries = values.get("labels")
    if not isinstance(entries, dict):
        raise DatasetError(f"{path}: labels: expected an object, found {entries!r}")
    labels = {}
    for key, value in entries.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        try:
            labels[int(number)] = str(name)
        except (TypeError, ValueError):
            raise DatasetError(f"{path}: labels: expected names and whole numbers (no regions), "
                               f"found {key!r}: {value!r}") from None
    if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
        raise DatasetError(f"{path}: labels: expected the values 0 to {len(labels) - 1}, found {sorted(labels)}")
    provenance = {key: values[key] for key in PROVENANCE_KEYS if key in values}
    return Description([str(channels[str(i)]) for i in range(len(channels))], dict(sorted(labels.items())), provenance)


def _strip_ending(path: Path):
    for ending in FILE_ENDINGS:
        if path.name.endswith(ending):
            return path.name[:-len(ending)]
    return None


def find_cases(folder: Path, channels: int) -> List[Case]:
    """All cases of a folder, sorted by name. Every label needs all its images."""
    folder = Path(folder)
    for images, labels in (("imagesTr", "labelsTr"), ("images", "labels")):
        if (folder / images).is_dir() and (folder / labels).is_dir():
            break
    else:
        raise DatasetError(f"{folder}: expected folders imagesTr and labelsTr, or images and labels, found neither")
    found = {_strip_ending(path): path for path in (folder / images).iterdir() if _strip_ending(path)}
    cases = []
    for label in sorted((folder / labels).iterdir()):
        name = _strip_ending(label)
        if name is None:
            continue
        wanted = [f"{name}_{channel:04d}" for channel in range(channels)]
        if channels == 1 and wanted[0] not in found:
            wanted = [name]
        missing = [item for item in wanted if item not in found]
        if missing:
            raise DatasetError(f"{folder / images}: expected an image {missing[0]} for the label {label.name}, "
                               "found none")
        cases.append(Case(name, [found[item] for item in wanted], label))
    if not cases:
        raise DatasetError(f"{folder / labels}: expected labels (*.nii.gz), found none")
    return cases


def split_cases(cases: List[Case], validation: int, seed: int):
    """(training, validation): `validation` cases drawn at random, the same for the same seed and the same names."""
    if not 0 <= validation < len(cases):
        raise DatasetError(f"validation cases: expected 0 to {len(cases) - 1}, found {validation}")
    chosen = set(numpy.random.default_rng(seed).permutation(len(cases))[:validation].tolist())
    return ([case for index, case in enumerate(cases) if index not in chosen],
            [case for index, case in enumerate(cases) if index in chosen])
