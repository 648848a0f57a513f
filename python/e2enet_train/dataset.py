"""Which cases there are: an nnU-Net style folder and the small JSON that describes it.

    DATA/imagesTr/CASE_0000.nii.gz, CASE_0001.nii.gz ...   one file per channel
    DATA/labelsTr/CASE.nii.gz
    DATA/dataset.json

`images` and `labels` are accepted as folder names too, `CASE.nii.gz` as an image where there is one channel, and endings
in any case of letters. Four digits at the end of a name are a channel only where the data set's channels are all there,
_0000 to the last; else they are part of the name. Hidden files are passed over; whatever else is left out is counted and
named. The JSON may have the keys of either version of nnU-Net; those used are

    name, description, reference, licence   copied into the model file's provenance
    channel_names (or modality)             {"0": "MRI"}; a channel named CT is normalised as CT
    labels                                  {"background": 0, "anterior": 1} or {"0": "background", "1": "anterior"}
    mirrored_labels                         [[1, 2], [3, 4]]: labels that change places when left and right do
"""
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Tuple

import numpy

from . import mirroring
from .files import readable
from .volumes import LOG, some_of

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
    mirrored_labels: List[Tuple[int, int]] = field(default_factory=list)

    @property
    def classes(self) -> int:
        return len(self.labels)


def read_description(path: Path) -> Description:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{path}: expected an object, found {type(values).__name__}")
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
    try:
        pairs = mirroring.check_pairs(values.get("mirrored_labels", []), len(labels), str(path))
    except mirroring.MirroringError as error:
        raise DatasetError(str(error)) from None
    return Description([str(channels[str(i)]) for i in range(len(channels))], dict(sorted(labels.items())), provenance,
                       pairs)


def _stem(name: str):
    """The name without its ending; None if it is no image's."""
    for ending in FILE_ENDINGS:
        if name.lower().endswith(ending):
            return name[:-len(ending)]
    return None


def _image_files(folder: Path) -> Dict[str, Path]:
    """The images of a folder by their names without ending."""
    found, others = {}, []
    for path in sorted(folder.iterdir()):
        stem = _stem(path.name)
        if path.name.startswith("."):
            continue
        if not stem or not path.is_file():
            others.append(path.name)
            continue
        if stem in found:
            raise DatasetError(f"{folder}: expected one file for {stem}, found {found[stem].name} and {path.name}")
        found[stem] = path
    if others:
        LOG.warning("warning: %s: left out %d that are no NIfTI files (%s): %s", folder, len(others),
                    ", ".join(FILE_ENDINGS), some_of(others))
    return found


def find_cases(folder: Path, channels: int) -> List[Case]:
    """All cases of a folder, sorted by name. Every label needs all its images; images without a label are left out."""
    folder = Path(folder)
    for images, labels in (("imagesTr", "labelsTr"), ("images", "labels")):
        if (folder / images).is_dir() and (folder / labels).is_dir():
            break
    else:
        raise DatasetError(f"{folder}: expected folders imagesTr and labelsTr, or images and labels, found neither")
    found, labelled = _image_files(folder / images), _image_files(folder / labels)
    numbered = {}
    for stem in found:
        match = re.fullmatch(r"(.+)_([0-9]{4})", stem, re.DOTALL)
        if match:
            numbered.setdefault(match[1], []).append(stem)
    cases, missing, used = [], [], set()
    for name, label in sorted(labelled.items()):
        wanted = [f"{name}_{channel:04d}" for channel in range(channels)]
        if channels == 1 and name in found:
            if wanted[0] in found and wanted[0] not in labelled:
                raise DatasetError(f"{folder / images}: expected one image for the label {label.name}, "
                                   f"found {found[name].name} and {found[wanted[0]].name}")
            wanted = [name]
        elif sorted(numbered.get(name, [])) != wanted:
            there = [found[stem].name for stem in sorted(numbered.get(name, []))]
            missing.append(f"{label.name} ({wanted[0]}" + (f" to {wanted[-1]}" if channels > 1 else "")
                           + f" wanted, {some_of(there) or 'none'} there)")
            continue
        used.update(wanted)
        cases.append(Case(name, [found[item] for item in wanted], label))
    if missing:
        raise DatasetError(f"{folder / images}: expected the {channels} channel{'s' if channels > 1 else ''} of every label, "
                           f"found other images for {len(missing)} of {len(labelled)}: {some_of(missing)}")
    if not cases:
        raise DatasetError(f"{folder / labels}: expected labels (*.nii.gz), found none")
    unused = [found[stem].name for stem in sorted(set(found) - used)]
    if unused:
        LOG.warning("warning: %s: left out %d without a label: %s", folder / images, len(unused), some_of(unused))
    return cases


def split_cases(cases: List[Case], validation: int, seed: int, held_back=()):
    """(training, validation): `validation` cases drawn at random, the same for the same seed and the same names. Where
    cases are among those named in `held_back`, these are the validation cases, however many were asked for: a network
    that has learned from all others would be scored on what it knows."""
    if not 0 <= validation < len(cases):
        raise DatasetError(f"validation cases: expected 0 to {len(cases) - 1}, found {validation}")
    kept = {index for index, case in enumerate(cases) if readable(case.name) in set(held_back)}
    chosen = kept if kept and validation else set(numpy.random.default_rng(seed).permutation(len(cases))[:validation].tolist())
    return ([case for index, case in enumerate(cases) if index not in chosen],
            [case for index, case in enumerate(cases) if index in chosen])
