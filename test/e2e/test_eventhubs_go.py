"""azeventhubs for Go with its blob checkpoints, and go-amqp by itself, unmodified, from the Go module proxy."""
import pathlib
import subprocess
import sys

import pytest
from eventhubs_fixtures import make_hub

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import golang  # noqa: E402

pytestmark = [pytest.mark.skipif(not golang.is_new_enough("go_eventhubs"), reason="needs the Go of test/lib/go_eventhubs/go.mod"),
              pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return golang.build("go_eventhubs", tmp_path_factory.mktemp("azeventhubs"))


def test_event_hubs_for_go(server, unique, program):
    hub = make_hub(server, unique("go"), 2)
    done = subprocess.run([str(program), server.eventhub_connection, hub, server.blob_connection, server.amqp],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
