"""What the benchmark scripts share: running a program with its memory, the machine, the paper's network."""

# This module, and every script that measures with it, never imports numpy itself: Linux counts the memory of the process that
# starts a program as that program's peak, so the one that starts the measured programs must stay small.

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

# Section 4 of the paper: AMOS-CT.
AMOS = {"input_channels": 1, "classes": 16, "base_features": 48, "max_features": 320, "pool_strides": [[2, 2, 2]] * 5,
        "groups": 5}
AMOS_PATCH = (128, 128, 128)


class Failure(Exception):
    pass


def measure(command, environment=None):
    """Runs a program, with these variables beside its environment; returns (standard output, peak resident bytes)."""
    command = [os.fspath(part) for part in command]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                   env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            message = errors.read().decode("utf-8", "replace").strip() or f"exit code {process.returncode}"
            raise Failure(f"{' '.join(command)}: {message}")
        return output.read().decode("utf-8"), usage.ru_maxrss * 1024


def run(command, **options):
    command = [os.fspath(part) for part in command]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **options).returncode != 0:
        raise Failure(f"failed: {' '.join(command)}")


def require_program(path, asked_by):
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise Failure(f"{asked_by}: expected a program, found {path} (scripts/build.sh builds it)")


def progress(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def processor():
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def busy_cores(seconds=2.0):
    """How many cores other programs keep busy now. (The load average would still count the build before.)"""
    def ticks():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]  # all, idle and waiting for a disk

    all_before, idle_before = ticks()
    time.sleep(seconds)
    all_after, idle_after = ticks()
    return os.cpu_count() * (1 - (idle_after - idle_before) / max(1, all_after - all_before))


def machine(cores):
    """What figures stand under: processor, cores, system, day."""
    return f"{processor()}, {cores}, {platform.system()} {platform.machine()}, {time.strftime('%Y-%m-%d')}"


def busy_remark(busy):
    """Markdown; nothing where no other program kept cores busy."""
    return f"**Other programs kept {busy:.1f} cores busy when this began: do not quote these figures.**" if busy > 0.2 else ""


def paper_network(program, folder, density, patch):
    """A model file with random weights, made by e2enet."""
    configuration = folder / "configuration.json"
    configuration.write_text(json.dumps({**AMOS, "patch_size": list(patch), "density": density}), encoding="utf-8")
    model = folder / "model.safetensors"
    measure([program, "random", "-o", model, "--config", configuration, "--seed", "1", "--quiet"])
    return model
