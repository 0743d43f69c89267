"""azure-messaging-eventhubs for Java, unmodified, from its published jars."""
import pathlib
import shutil
import subprocess
import sys

import pytest
from eventhubs_fixtures import make_hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/lib"))
import maven  # noqa: E402

pytestmark = [pytest.mark.skipif(not (shutil.which("java") and shutil.which("mvn")), reason="needs Java and Maven"),
              pytest.mark.timeout(300)]


def test_event_hubs_for_java(server, unique):
    hub = make_hub(server, unique("java"), 2)
    jars = maven.closure("com.azure:azure-messaging-eventhubs:5.20.3")
    done = subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
                           ":".join(map(str, jars)), str(ROOT / "test/lib/java/EventHubs.java"),
                           server.eventhub_connection, hub], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 6, done.stdout
