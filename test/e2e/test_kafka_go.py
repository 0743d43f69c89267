"""franz-go, unmodified, from the Go module proxy."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.skipif(not shutil.which("go"), reason="needs Go"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("franz")
    for name in ("go.mod", "go.sum", "main.go"):
        shutil.copy(ROOT / "test/lib/go" / name, folder)
    subprocess.run(["go", "build", "-o", "franz", "."], cwd=folder, check=True, timeout=350,
                   env={**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"})
    return folder / "franz"


def test_franz_go(server, unique, program):
    done = subprocess.run([str(program), server.kafka, unique(), unique("g")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
