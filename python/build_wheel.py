#!/usr/bin/env python3
"""Makes the wheel of the package: its Python files, libe2enet, the program, and the libraries that these two need.

    build_wheel.py [FOLDER]            FOLDER/e2enet-VERSION-py3-none-PLATFORM.whl (default: dist)

The same functions are the build backend of pyproject.toml (PEP 517), for `pip install ./python`. Nothing is downloaded.
The library and the program are built with CMake in build/wheel, or taken from the build folder that E2ENET_BUILD_FOLDER
names. The same inputs give the same bytes.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

PYTHON = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(PYTHON)
DATE = (1980, 1, 1, 0, 0, 0)  # of every file: the first that a zip file can have
# What every system with a C++ program has, and in which nothing may be mixed: the C and C++ run times and the loader.
OF_THE_SYSTEM = re.compile(r"^(ld-|linux-vdso|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so)")
SUMMARY = "3D medical image segmentation with E2ENet on machines without a GPU"


def version():
    with open(os.path.join(ROOT, "include", "e2enet", "version.h"), encoding="utf-8") as file:
        return re.search(r'^#define E2ENET_VERSION "(.*)"$', file.read(), re.MULTILINE).group(1)


def metadata():
    lines = ["Metadata-Version: 2.1", "Name: e2enet", f"Version: {version()}", f"Summary: {SUMMARY}",
             "License: Apache-2.0", "Requires-Python: >=3.9", "Requires-Dist: numpy>=1.19",
             "Description-Content-Type: text/markdown"]
    with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as file:
        return "\n".join(lines) + "\n\n" + file.read()


def tag():
    return "py3-none-" + re.sub(r"[^A-Za-z0-9]", "_", sysconfig.get_platform())


def built_folder():
    """The build folder with the library and the program, built anew unless one is named."""
    named = os.environ.get("E2ENET_BUILD_FOLDER")
    if named:
        return os.path.abspath(named)
    folder = os.path.join(ROOT, "build", "wheel")
    generator = ["-G", "Ninja"] if shutil.which("ninja") and not os.path.exists(os.path.join(folder, "Makefile")) else []
    options = ["-DCMAKE_BUILD_TYPE=Release"] + [f"-DE2ENET_BUILD_{part}=OFF" for part in ("TESTS", "BENCHMARKS", "EXAMPLES")]
    # What CMake and the compiler say goes where pip shows it if it fails; standard output is for the file's name.
    for command in (["cmake", "-S", ROOT, "-B", folder, *generator, *options],
                    ["cmake", "--build", folder, "--target", "e2enet", "e2enet_library", "--parallel"]):
        try:
            subprocess.run(command, check=True, stdout=sys.stderr)
        except FileNotFoundError:
            raise SystemExit("build_wheel: error: expected CMake to build the library with, found none; "
                             "scripts/install_dependencies.sh installs it") from None
        except subprocess.CalledProcessError as problem:
            raise SystemExit(f"build_wheel: error: {' '.join(command)}: ended with {problem.returncode}") from None
    return folder


def needed(path):
    """Name -> file of the libraries that a program or library needs, but for those of every system."""
    listing = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    found = {}
    for name, where in re.findall(r"^\s*(\S+) => (.*?)(?: \(0x[0-9a-f]+\))?$", listing, re.MULTILINE):
        if OF_THE_SYSTEM.match(name) or name.startswith("libe2enet"):
            continue
        if not os.path.exists(where):
            raise SystemExit(f"build_wheel: error: {path}: needs {name}, which is not on this system")
        found[name] = os.path.realpath(where)
    return found


def stripped(path, folder):
    """A copy without what only a debugger reads."""
    copy = os.path.join(folder, os.path.basename(path))
    subprocess.run(["strip", "--strip-unneeded", "-o", copy, path], check=True)
    return copy


def python_files():
    package = os.path.join(PYTHON, "e2enet")
    return [(f"e2enet/{name}", os.path.join(package, name)) for name in sorted(os.listdir(package))
            if name.endswith((".py", ".typed"))]


def write_wheel(folder, files, texts):
    """`files` are (name in the wheel, file), `texts` (name, text); both get into its record."""
    name = f"e2enet-{version()}-{tag()}.whl"
    path = os.path.join(folder, name)
    information = f"e2enet-{version()}.dist-info"
    records = []

    def add(archive, name, content, executable=False):
        entry = zipfile.ZipInfo(name, DATE)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.create_system = 3  # Unix: modes count
        entry.external_attr = (0o100755 if executable else 0o100644) << 16
        archive.writestr(entry, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        records.append(f"{name},sha256={digest},{len(content)}")

    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(path + ".partial", "w") as archive:
        for inside, source in files:
            with open(source, "rb") as file:
                add(archive, inside, file.read(), inside.startswith("e2enet/bin/"))
        for inside, text in texts:
            add(archive, f"{information}/{inside}", text.encode())
        records.append(f"{information}/RECORD,,")
        add(archive, f"{information}/RECORD", ("\n".join(records) + "\n").encode())
    os.replace(path + ".partial", path)
    return name


def _texts(pure):
    wheel = f"Wheel-Version: 1.0\nGenerator: e2enet\nRoot-Is-Purelib: {'true' if pure else 'false'}\nTag: {tag()}\n"
    return [("METADATA", metadata()), ("WHEEL", wheel),
            ("entry_points.txt", "[console_scripts]\ne2enet = e2enet.__main__:main\n")]


# The functions of PEP 517 that pip calls.

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    build = built_folder()
    library, program = os.path.join(build, "src", "libe2enet.so.0"), os.path.join(build, "bin", "e2enet")
    with tempfile.TemporaryDirectory() as folder:
        files = python_files()
        libraries = {**needed(library), **needed(program), "libe2enet.so.0": library}
        for name, source in sorted(libraries.items()):
            files.append((f"e2enet/lib/{name}", stripped(source, folder)))
        files.append(("e2enet/bin/e2enet", stripped(program, folder)))
        for name in ("LICENSE",):
            files.append((f"e2enet-{version()}.dist-info/{name}", os.path.join(ROOT, name)))
        return write_wheel(wheel_directory, files, _texts(pure=False))


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("build_wheel: error: the sources of the library are the repository: make a wheel of it")


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:] in (["--help"], ["-h"]):
        print(__doc__)
        sys.exit(0 if len(sys.argv) == 2 else 2)
    target = os.path.abspath(sys.argv[1] if len(sys.argv) == 2 else os.path.join(ROOT, "dist"))
    print(os.path.join(target, build_wheel(target)))
