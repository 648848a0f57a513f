"""Files that are whole or not there."""
import json
import os
from pathlib import Path


def write_atomically(path: Path, write) -> None:
    """`write(file)` to a file beside `path`, on the disk before it takes the name."""
    temporary = path.with_name(path.name + ".partial")
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def readable(name: str) -> str:
    """A file's name as text that any program can read: bytes that are not UTF-8 become \\xfc and the like."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_json(path: Path, values: dict) -> None:
    write_atomically(path, lambda file: file.write((json.dumps(values, indent=2, allow_nan=False) + "\n").encode()))
