"""Older kafka-python releases, each in an environment of its own: 2.0 probes with ApiVersions 0 and Metadata 0."""
import os
import pathlib
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENVS = pathlib.Path(os.environ.get("WEIR_VENVS", pathlib.Path.home() / ".cache/weir/venvs"))


@pytest.fixture(scope="module", params=["2.0.6", "2.2.15"])
def python(request):
    folder = VENVS / f"kafka-python-{request.param}-{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin/pip", "install", "-q", "--disable-pip-version-check",
                        f"kafka-python=={request.param}", "lz4"], check=True, timeout=250)
        (folder / "complete").touch()
    return folder / "bin/python"


@pytest.mark.timeout(300)
def test_old_kafka_python(server, unique, python):
    done = subprocess.run([python, ROOT / "test/lib/kafka_python_round_trip.py", server.kafka, unique(), unique("g")],
                          capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
