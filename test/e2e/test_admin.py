"""The admin port: health, metrics, topics, and what it refuses."""
import http.client
import json
import re
import time

from blob_fixtures import raw


def call(server, method, path, body=None):
    host, port = server.admin.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    text = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
    connection.request(method, path, text)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, json.loads(data) if data and "json" in response.getheader("Content-Type", "") else data


def test_health(server):
    assert call(server, "GET", "/livez") == (200, {"status": "ok"})
    assert call(server, "GET", "/readyz") == (200, {"status": "ready"})
    assert call(server, "GET", "/health") == (200, {"status": "healthy"})
    assert call(server, "HEAD", "/health")[0] == 200


def test_metrics(server):
    status, text = call(server, "GET", "/metrics")
    assert status == 200
    for line in text.decode().splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+=\"[^\"]*\"\})? [-+0-9.e]+", line), line
    names = {line.split("{")[0].split(" ")[0] for line in text.decode().splitlines() if not line.startswith("#")}
    assert {"process_resident_memory_bytes", "weir_topics", "weir_ready", "weir_append_records_total",
            "weir_blob_requests_total"} <= names


def test_cluster(server):
    status, cluster = call(server, "GET", "/api/v1/cluster")
    assert status == 200 and cluster["ready"] is True
    assert cluster["listeners"] == {"kafka": server.kafka, "amqp": server.amqp, "blob": server.blob,
                                    "admin": server.admin}


def test_topics(server, unique):
    name = unique("t")
    status, topic = call(server, "POST", "/api/v1/topics",
                         {"name": name, "partitions": 3, "configs": {"retention.ms": "1000", "segment.bytes": 1048576}})
    assert status == 201 and topic["partitions"] == 3
    assert topic["configs"] == {"retention.ms": "1000", "segment.bytes": "1048576"}
    status, again = call(server, "POST", "/api/v1/topics", {"name": name})
    assert (status, again["error"]["code"]) == (409, "topic_exists")
    status, shown = call(server, "GET", f"/api/v1/topics/{name}")
    assert status == 200 and [state["partition"] for state in shown["partition_states"]] == [0, 1, 2]
    assert all(state["error"] is None and state["high_watermark"] == 0 for state in shown["partition_states"])
    assert name in [topic["name"] for topic in call(server, "GET", "/api/v1/topics")[1]["topics"]]
    assert call(server, "DELETE", f"/api/v1/topics/{name}") == (204, b"")
    for method in ("GET", "DELETE"):
        status, gone = call(server, method, f"/api/v1/topics/{name}")
        assert (status, gone["error"]["code"]) == (404, "unknown_topic_or_partition")


def test_refusals(server):
    for body, code in (("{", "invalid_request"), ("[]", "invalid_request"), ("", "invalid_request"),
                       ("[" * 100000, "invalid_request"), (b"\xff\xfe", "invalid_request"),
                       ({"name": "x", "partition": 1}, "invalid_request"), ({"name": 5}, "invalid_request"),
                       ({"partitions": 1}, "invalid_topic"), ({"name": "a b"}, "invalid_topic"),
                       ({"name": "x", "partitions": 0}, "invalid_partitions"),
                       ({"name": "x", "partitions": 10 ** 12}, "invalid_partitions"),
                       ({"name": "x", "configs": {"odd": "1"}}, "invalid_config"),
                       ({"name": "x", "configs": {"retention.ms": "soon"}}, "invalid_config"),
                       ('{"name": "a", "name": "b"}', "invalid_request")):
        status, answer = call(server, "POST", "/api/v1/topics", body)
        assert (status, answer["error"]["code"]) == (400, code), body
        assert answer["error"]["message"]
    assert call(server, "GET", "/nowhere")[0] == 404
    assert call(server, "PATCH", "/api/v1/topics")[0] == 405
    assert call(server, "GET", "/api/v1/topics/%zz")[0] == 400
    assert call(server, "POST", "/api/v1/jobs", "x" * (5 << 20))[0] == 413


def ask(server, method, path, body=b"", **fields):
    """Status of a request with exactly these headers."""
    lines = [f"{method} {path} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return int(raw(server.admin, "\r\n".join(lines + ["", ""]).encode() + body).split()[1])


def test_pages_are_not_obeyed(server, unique):
    """A page whose name was made to lead here, and one that posts from elsewhere."""
    for host in (server.admin, "localhost:5300", "127.0.0.1", "[::1]:5300", "10.1.2.3:80", "weir:5300", "a.localhost"):
        assert ask(server, "GET", "/metrics", Host=host) == 200, host
        assert ask(server, "GET", "/api/v1/topics", Host=host) == 200, host
    for host in ("evil.example", "evil.example:5300", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert ask(server, "GET", "/api/v1/topics", Host=host) == 403, host
        assert ask(server, "GET", "/metrics", Host=host) == 403, host
        assert ask(server, "GET", "/livez", Host=host) == 200, host
    assert ask(server, "GET", "http://evil.example/api/v1/topics", Host=server.admin) == 403
    name = unique()
    topic = json.dumps({"name": name}).encode()
    for fields in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
                   {"Sec_Fetch_Site": "cross-site"}):
        assert ask(server, "POST", "/api/v1/topics", topic, Host=server.admin, **fields) == 403, fields
        assert ask(server, "DELETE", f"/api/v1/topics/{name}", Host=server.admin, **fields) == 403, fields
        assert ask(server, "GET", "/api/v1/topics", Host=server.admin, **fields) == 200, fields
    assert ask(server, "POST", "/api/v1/topics", topic, Host=server.admin, Origin=f"http://{server.admin}") == 201
    assert ask(server, "DELETE", f"/api/v1/topics/{name}", Host=server.admin) == 204


def test_more_names(start_server, tmp_path):
    (tmp_path / "weir.yaml").write_text("admin:\n  hosts: weir.example, other.example\n")
    server = start_server("--config", str(tmp_path / "weir.yaml"))
    for host, status in (("weir.example:5300", 200), ("OTHER.example", 200), ("example", 200), ("a.weir.example", 403)):
        assert ask(server, "GET", "/api/v1/topics", Host=host) == status, host


def test_hostile_bytes(server):
    for data in (b"\x00" * 100, b"GET / HTTP/1.1\n\n", b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 b"POST /api/v1/topics HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n1"):
        assert re.match(rb"HTTP/1\.1 400 ", raw(server.admin, data))
    assert call(server, "GET", "/livez")[0] == 200


def test_connection_limits(start_server, tmp_path):
    """One connection too many is told 503 on either HTTP port; the ones there go on, and a free place is taken."""
    (tmp_path / "weir.yaml").write_text("admin:\n  connections_max: 3\nblob:\n  connections_max: 3\n")
    server = start_server("--config", str(tmp_path / "weir.yaml"))
    for address, path, status in ((server.admin, "/livez", 200), (server.blob, "/devstoreaccount1?comp=list", 401)):
        host, port = address.rsplit(":", 1)
        kept = [http.client.HTTPConnection(host, int(port), timeout=30) for _ in range(3)]
        for connection in kept + kept:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            assert response.status == status
        text = raw(address, f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        assert text.startswith(b"HTTP/1.1 503 ") and b"\r\nConnection: close\r\n" in text
        assert address == server.admin or b"x-ms-error-code: ServerBusy" in text
        kept.pop().close()
        deadline = time.monotonic() + 20
        while not raw(address, f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()).startswith(
                f"HTTP/1.1 {status} ".encode()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for connection in kept:
            connection.close()
