"""Starts real servers for the end-to-end tests.

`server` is shared by a test session; `start_server` makes private ones (own data folder, restarts, kill -9).
The program under test is named by the environment variable WEIR.
"""
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIR = os.environ.get("WEIR", str(ROOT / "build/release/weir"))
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Server:
    """One `weir serve` process; addresses are HOST:PORT strings."""

    def __init__(self, data, *arguments):
        self.data = pathlib.Path(data)
        self.arguments = list(arguments)
        self.process = None
        self.ports = ["--kafka-port", "0", "--amqp-port", "0", "--blob-port", "0", "--admin-port", "0"]
        self.start()

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [WEIR, "serve", "--data", str(self.data), *self.ports, *self.arguments],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        watchdog = threading.Timer(30, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line.startswith("listening "):
            self.process.wait()
            raise RuntimeError(f"weir serve did not start (exit {self.process.returncode}): {self.stderr()}")
        fields = dict(pair.split("=", 1) for pair in line.split()[1:])
        self.kafka, self.amqp = fields["kafka"], fields["amqp"]
        self.blob, self.admin = fields["blob"], fields["admin"]

    def fix_ports(self):
        """From the next start on it listens where it listens now."""
        self.ports = [word for name in ("kafka", "amqp", "blob", "admin")
                      for word in (f"--{name}-port", getattr(self, name).rsplit(":", 1)[1])]

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def kill(self):
        """kill -9: what a crash leaves behind."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM, and the exit status of the graceful stop."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the server did not stop within 20 s of SIGTERM")
        return self.process.returncode

    @property
    def eventhub_connection(self):
        return (f"Endpoint=sb://{self.amqp};SharedAccessKeyName=RootManageSharedAccessKey;"
                "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;")

    @property
    def blob_connection(self):
        return ("DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
                f"AccountKey={ACCOUNT_KEY};BlobEndpoint=http://{self.blob}/devstoreaccount1;")


@pytest.fixture
def start_server(tmp_path):
    """A function that starts a private server in the test's folder; all are stopped afterwards."""
    started = []

    def start(*arguments, data=None):
        server = Server(data or tmp_path / "data", *arguments)
        started.append(server)
        return server

    yield start
    for server in started:
        assert server.stop() in (0, -signal.SIGKILL), server.stderr()
        assert "Sanitizer" not in server.stderr(), server.stderr()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 96 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that do not stop it; use unique names in it."""
    server = Server(tmp_path_factory.mktemp("server") / "data")
    yield server
    assert server.stop() == 0, server.stderr()
    assert "Sanitizer" not in server.stderr(), server.stderr()


@pytest.fixture
def unique():
    """A function that makes a name nobody else uses."""
    return lambda prefix="t": f"{prefix}-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def weir():
    """A function that runs a command of the program: (exit status, stdout, stderr)."""

    def run(*arguments, stdin=None, timeout=60):
        words = [word if isinstance(word, bytes) else str(word) for word in arguments]
        done = subprocess.run([WEIR, *words], input=stdin, capture_output=True, timeout=timeout)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    return run
