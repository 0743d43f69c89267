"""Starting, stopping and being in the way of another server."""
import signal
import socket
import subprocess
import time
import urllib.request

import conftest


def serve(*arguments, timeout=30):
    done = subprocess.run([conftest.WEIR, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


FREE = ["--kafka-port", 0, "--amqp-port", 0, "--blob-port", 0, "--admin-port", 0]


def test_graceful_stop(start_server):
    server = start_server()
    assert server.stop() == 0


def test_health(server):
    for path in ("/health", "/livez", "/readyz"):
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://{server.admin}{path}", timeout=5) as answer:
                    assert answer.status == 200
                    break
            except urllib.error.HTTPError as error:
                assert error.code == 503 and time.monotonic() < deadline
    with urllib.request.urlopen(f"http://{server.admin}/metrics", timeout=5) as answer:
        assert "text/plain" in answer.headers["Content-Type"]
        text = answer.read()
        for door in (b"kafka", b"eventhubs", b"blob"):
            assert b"\nweir_" + door + b"_connections " in text


def test_data_folder_in_use(start_server):
    server = start_server()
    status, out, err = serve("--data", server.data, *FREE)
    assert (status, out) == (1, "")
    assert "another" in err or "in use" in err
    assert server.process.poll() is None


def test_port_taken(start_server, tmp_path):
    server = start_server()
    port = server.kafka.rsplit(":", 1)[1]
    status, out, err = serve("--data", tmp_path / "other", "--kafka-port", port, *FREE[2:])
    assert (status, out) == (1, "")
    assert port in err


def test_wrong_settings(tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text("kafka:\n  prot: 1\n")
    status, out, err = serve("--data", tmp_path / "data", "--config", file)
    assert (status, out) == (2, "")
    assert f"{file}:2:3: unknown setting 'kafka.prot'; did you mean 'kafka.port'?" in err


def test_restart_keeps_topics(start_server, weir):
    """Logs enough that some are still being opened when the command asks: it waits for them."""
    server = start_server()
    assert weir("topic", "create", "kept", "-p", 400, "--admin", server.admin)[0] == 0
    assert weir("produce", "kept", "-b", server.kafka, "-p", 399, stdin=b"one\ntwo\n")[0] == 0
    for place in ("beginning", "s@0"):
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server.start()
        status, out, err = weir("consume", "kept", "-e", "-o", place, "-p", 399, "-b", server.kafka)
        assert (status, out) == (0, "one\ntwo\n"), err


def test_refused_starts_end_cleanly(start_server, weir):
    """The folder's logs are being recovered when a door cannot open: nothing of it may be used after it is freed."""
    server = start_server()
    for number in range(20):
        topic = f"logs-{number}"
        assert weir("topic", "create", topic, "-p", 4, "--admin", server.admin)[0] == 0
        assert weir("produce", topic, "-b", server.kafka, stdin=b"record\n" * 2000)[0] == 0
    server.kill()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for _ in range(8):
            status, out, err = serve("--data", server.data, *FREE[:6], "--admin-port", port)
            assert (status, out) == (1, "")
            assert str(port) in err and "Sanitizer" not in err, err
    server.start()


def test_admin_stays_on_loopback(start_server, tmp_path):
    """The admin port asks for no credentials: listening to the world takes a setting of its own."""
    file = tmp_path / "weir.yaml"
    file.write_text("amqp: {key: secret}\nblob: {key: c2VjcmV0}\n")
    server = start_server("--host", "0.0.0.0", "--config", str(file))
    assert server.kafka.startswith("0.0.0.0:")
    assert server.admin.startswith("127.0.0.1:")
    server.stop()
    file.write_text("amqp: {key: secret}\nblob: {key: c2VjcmV0}\nadmin: {host: 0.0.0.0}\n")
    server.start()
    assert server.admin.startswith("0.0.0.0:")


def test_open_doors_are_warned_of(start_server, tmp_path):
    """Kafka and admin ask for no credentials: whoever opens them to a network reads it on standard error."""
    file = tmp_path / "weir.yaml"
    file.write_text("amqp: {key: secret}\nblob: {key: c2VjcmV0}\n")
    server = start_server("--config", str(file))
    server.stop()
    assert "warning" not in server.stderr()
    server.arguments += ["--host", "0.0.0.0"]
    server.start()
    server.stop()
    assert "warning: the Kafka door listens on 0.0.0.0 and asks for no credentials" in server.stderr()
    assert "nothing is encrypted" in server.stderr() and "admin port" not in server.stderr()
    file.write_text("admin: {host: 0.0.0.0}\n")
    server.arguments = ["--config", str(file)]
    server.start()
    server.stop()
    assert "warning: the admin port listens on 0.0.0.0 and asks for no credentials" in server.stderr()
    assert "Kafka" not in server.stderr()
