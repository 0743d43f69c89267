"""@azure/event-hubs for JS, unmodified, run by Node."""
import os
import pathlib
import shutil
import subprocess

import pytest
from eventhubs_fixtures import make_hub

HERE = pathlib.Path(__file__).resolve().parent / "js"
CACHE = HERE.parents[2] / "build/venv/js"


@pytest.fixture(scope="session")
def modules():
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    package = (HERE / "package.json").read_text()
    if not (CACHE / "package.json").exists() or (CACHE / "package.json").read_text() != package or not (
            CACHE / "node_modules").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text(package)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=CACHE, check=True, timeout=300)
    return CACHE


def node(*arguments):
    """The command line of Node; before version 20 the SDKs' global `crypto` has to be asked for."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    old = int(version[1:].split(".")[0]) < 20
    return ["node", *(["--experimental-global-webcrypto"] if old else []), *arguments]


def test_event_hubs_client(server, unique, modules):
    hub = make_hub(server, unique("js"), 2)
    script = modules / f"eventhubs-{os.getpid()}.mjs"
    shutil.copy(HERE / "eventhubs.mjs", script)
    good = server.eventhub_connection
    done = subprocess.run(node(str(script), good, hub, good.replace("SAS_KEY_VALUE", "WRONG")), cwd=modules,
                          capture_output=True, text=True, timeout=110)
    script.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 9, done.stdout
