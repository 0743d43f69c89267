"""Programs in Go of test/lib: whether they can be built here, and building them."""
import os
import pathlib
import re
import shutil
import subprocess

LIB = pathlib.Path(__file__).resolve().parent


def is_new_enough(module):
    """Whether there is a Go of the version that the module asks for; Debian 12's is older."""
    if not shutil.which("go"):
        return False
    found = re.search(r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout)
    wanted = re.search(r"^go (\d+)\.(\d+)", (LIB / module / "go.mod").read_text(), re.M)
    return bool(found) and tuple(map(int, found.groups())) >= tuple(map(int, wanted.groups()))


def build(module, folder):
    """Builds the module in the folder and returns the program's path."""
    for name in ("go.mod", "go.sum", "main.go"):
        shutil.copy(LIB / module / name, folder)
    subprocess.run(["go", "build", "-o", "program", "."], cwd=folder, check=True, timeout=350,
                   env={**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"})
    return folder / "program"
