"""azeventhubs for Go with its blob checkpoints, and go-amqp by itself, unmodified, from the Go module proxy."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest
from eventhubs_fixtures import make_hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "test/lib/go_eventhubs"


def go_is_new_enough():
    """Whether there is a Go of the version that the module asks for; Debian 12's is older."""
    if not shutil.which("go"):
        return False
    found = re.search(r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout)
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.M)
    return bool(found) and tuple(map(int, found.groups())) >= tuple(map(int, wanted.groups()))


pytestmark = [pytest.mark.skipif(not go_is_new_enough(), reason="needs the Go of test/lib/go_eventhubs/go.mod"),
              pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("azeventhubs")
    for name in ("go.mod", "go.sum", "main.go"):
        shutil.copy(MODULE / name, folder)
    subprocess.run(["go", "build", "-o", "eventhubs", "."], cwd=folder, check=True, timeout=350,
                   env={**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"})
    return folder / "eventhubs"


def test_event_hubs_for_go(server, unique, program):
    hub = make_hub(server, unique("go"), 2)
    done = subprocess.run([str(program), server.eventhub_connection, hub, server.blob_connection, server.amqp],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
