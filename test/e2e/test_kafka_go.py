"""franz-go, unmodified, from the Go module proxy."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import golang  # noqa: E402

pytestmark = [pytest.mark.skipif(not golang.is_new_enough("go"), reason="needs the Go of test/lib/go/go.mod"),
              pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return golang.build("go", tmp_path_factory.mktemp("franz"))


def test_franz_go(server, unique, program):
    done = subprocess.run([str(program), server.kafka, unique(), unique("g")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
