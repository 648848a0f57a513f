"""python3 -m e2enet: the program."""

import os
import shutil
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def main():
    """Becomes the program: E2ENET_PROGRAM, or that inside of the package, or that of the system."""
    inside = os.path.join(FOLDER, "bin", "e2enet")
    program = os.environ.get("E2ENET_PROGRAM")
    environment = dict(os.environ)
    if not program and os.path.exists(inside):
        program = inside
        beside = [os.path.join(FOLDER, "lib"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(folder for folder in beside if folder)
    # Under its own name in a folder of scripts this module may be found as "e2enet" too: that would call itself for ever.
    program = program or shutil.which("e2enet")
    if not program or os.path.realpath(program) == os.path.realpath(sys.argv[0]):
        print("e2enet: error: the program is not in the package, and E2ENET_PROGRAM names none", file=sys.stderr)
        return 1
    try:
        os.execve(program, [program, *sys.argv[1:]], environment)
    except OSError as problem:
        print(f"e2enet: error: {program}: {problem.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
