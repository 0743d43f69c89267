"""kafkajs, unmodified, from the npm registry."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = pathlib.Path(os.environ.get("WEIR_NODE", pathlib.Path.home() / ".cache/weir/node"))
pytestmark = [pytest.mark.skipif(not shutil.which("npm"), reason="needs Node.js and npm"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def modules():
    if not (MODULES / "node_modules/kafkajs").exists():
        MODULES.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(MODULES), "kafkajs@2.2.4"],
                       check=True, timeout=250)
    return MODULES / "node_modules"


def test_kafkajs(server, unique, modules):
    done = subprocess.run(["node", str(ROOT / "test/lib/js/kafkajs_round_trip.js"), server.kafka, unique(), unique("g")],
                          env={**os.environ, "NODE_PATH": str(modules), "KAFKAJS_NO_PARTITIONER_WARNING": "1"},
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr
