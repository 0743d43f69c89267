"""@azure/event-hubs for JS and rhea, the AMQP client below it, unmodified, run by Node."""
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


def run(modules, name, *arguments):
    """Standard output of one of the scripts, which must succeed."""
    script = modules / f"{name}-{os.getpid()}.mjs"
    shutil.copy(HERE / f"{name}.mjs", script)
    done = subprocess.run(node(str(script), *arguments), cwd=modules, capture_output=True, text=True, timeout=110)
    script.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_event_hubs_client(server, unique, modules):
    hub = make_hub(server, unique("js"), 2)
    good = server.eventhub_connection
    out = run(modules, "eventhubs", good, hub, good.replace("SAS_KEY_VALUE", "WRONG"))
    assert out.count("ok ") == 9, out


def test_rhea(server, unique, modules):
    hub = make_hub(server, unique("rhea"), 1)
    assert "round trip holds" in run(modules, "rhea", server.amqp, hub)
