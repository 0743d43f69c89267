"""@azure/storage-blob for JS, unmodified, run by Node."""
import os
import shutil
import subprocess

from test_eventhubs_js import HERE, modules, node  # noqa: F401 (the fixture installs the packages once)


def test_blob_client(server, unique, modules):  # noqa: F811
    script = modules / f"blob-{os.getpid()}.mjs"
    shutil.copy(HERE / "blob.mjs", script)
    done = subprocess.run(node(str(script), server.blob_connection, unique("js")), cwd=modules,
                          capture_output=True, text=True, timeout=110)
    script.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 8, done.stdout
