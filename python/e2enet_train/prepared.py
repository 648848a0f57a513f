"""What the network sees of each case, kept beside a run so that it is made once.

    CASE_image.npy, CASE_labels.npy   the arrays
    CASE.json                         what they were made from; written last, so a case that was cut short has none

Arrays whose CASE.json says otherwise than the plan and the files do are made anew.
"""
import json
from pathlib import Path

import numpy

from .files import readable, write_atomically, write_json
from .preprocess import preprocess
from .volumes import Remarks, read_case

# To be raised where the same files and settings give other arrays than before.
FORMAT = 1


def _origin(case, plan: dict, labels) -> dict:
    files = [(path, path.stat()) for path in (*case.images, case.label)]
    return {"format": FORMAT, "preprocessing": plan["preprocessing"], "labels": sorted(labels),
            "files": [{"name": readable(path.name), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
                      for path, status in files]}


def _recorded(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def preprocess_cases(cases, plan: dict, labels, folder: Path, report=print):
    """(image, labels) as .npy files per case. `labels`: the values that a label may have."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs, remarks, made, stale = [], Remarks(), 0, 0
    for case in cases:
        image_path, label_path = folder / f"{case.name}_image.npy", folder / f"{case.name}_labels.npy"
        record = folder / f"{case.name}.json"
        # As JSON gives it back: a tuple is a list there.
        origin = json.loads(json.dumps(_origin(case, plan, labels)))
        exists = image_path.exists() and label_path.exists()
        if not (exists and _recorded(record) == origin):
            stale += exists
            volume, values = read_case(case.images, case.label, plan["preprocessing"]["orientation"], labels, remarks)
            data, values, _ = preprocess(volume, plan["preprocessing"], values)
            record.unlink(missing_ok=True)
            write_atomically(image_path, lambda file: numpy.save(file, data))
            write_atomically(label_path, lambda file: numpy.save(file, values))
            write_json(record, origin)
            made += 1
            if made % 50 == 0:
                report(f"preprocessed {made} cases")
        pairs.append((str(image_path), str(label_path)))
    remarks.say()
    if stale:
        report(f"preprocessed {stale} cases anew: their files or the plan have changed since")
    return pairs
