"""Jobs: what they read and write at every door, malformed events, restarts, kill -9, refused definitions.

WEIR_CRASH_CYCLES sets how often the server is killed under a job (default 3).
"""
import csv
import io
import json
import os
import time
import urllib.error
import urllib.request

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

CYCLES = int(os.environ.get("WEIR_CRASH_CYCLES", "3"))


def call(server, method, path, body=None):
    request = urllib.request.Request(f"http://{server.admin}/api/v1/jobs{path}", method=method,
                                     data=None if body is None else json.dumps(body).encode(),
                                     headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def refused(server, method, path, body=None):
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(server, method, path, body)
    return caught.value.code, caught.value.read().decode()


def wait(check, seconds=60):
    """Polls until check gives something true."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def run_job(server, name, query, outputs, **more):
    call(server, "POST", "", {"name": name, "query": query, "outputs": outputs, **more})
    call(server, "POST", f"/{name}/start")


def status(server, name):
    return call(server, "GET", f"/{name}")["status"]


def done(server, name, events):
    now = status(server, name)
    assert now["state"] in ("starting", "running", "waiting"), now
    return now if now["events"] + now["malformed"] >= events else None


def produce(server, topic, values, partitions=None):
    if partitions:
        admin = KafkaAdminClient(bootstrap_servers=server.kafka)
        admin.create_topics([NewTopic(topic, partitions, 1)])
        admin.close()
    producer = KafkaProducer(bootstrap_servers=server.kafka, acks="all")
    for value in values:
        producer.send(topic, value if isinstance(value, bytes) else json.dumps(value).encode())
    producer.flush()
    producer.close()


def read_topic(server, topic):
    consumer = KafkaConsumer(bootstrap_servers=server.kafka, auto_offset_reset="earliest")
    parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or []]
    consumer.assign(parts)
    left = sum(consumer.end_offsets(parts).values()) - sum(consumer.beginning_offsets(parts).values())
    values = []
    deadline = time.monotonic() + 30
    while len(values) < left and time.monotonic() < deadline:
        for batch in consumer.poll(timeout_ms=500).values():
            values += [json.loads(record.value) for record in batch]
    consumer.close()
    return values


def read_blob(server, container, name):
    client = BlobServiceClient.from_connection_string(server.blob_connection)
    try:
        return client.get_blob_client(container, name).download_blob().readall().decode()
    except ResourceNotFoundError:
        return ""


def test_filter_to_blob_and_topic(server, unique):
    source, target, container = unique("in"), unique("out"), unique("c")
    events = [{"n": i, "message": "Hello, World!" if i % 3 == 0 else f"no \"{i}\"\n", "x": {"y": [i]}}
              for i in range(3000)]
    produce(server, source, events, partitions=3)
    run_job(server, source,
            f"SELECT n, message, x.y INTO csv FROM [{source}] WHERE message = 'hello, world!'\n"
            f"SELECT n, x INTO lines FROM [{source}] WHERE n % 3 <> 0\n"
            f"SELECT * INTO topic FROM [{source}] WHERE n < 100",
            [{"name": "csv", "blob": f"{container}/a/output.csv"},
             {"name": "lines", "blob": f"{container}/lines.jsonl", "format": "jsonl"},
             {"name": "topic", "topic": target}])
    wait(lambda: done(server, source, 3000))
    wait(lambda: len(read_topic(server, target)) >= 100)
    rows = list(csv.reader(io.StringIO(read_blob(server, container, "a/output.csv"))))
    assert rows[0] == ["n", "message", "y"]
    assert sorted(int(r[0]) for r in rows[1:]) == list(range(0, 3000, 3))
    assert {(r[1], r[2]) for r in rows[1:]} == {("Hello, World!", "Array")}
    lines = [json.loads(line) for line in read_blob(server, container, "lines.jsonl").splitlines()]
    assert sorted(r["n"] for r in lines) == [i for i in range(3000) if i % 3]
    assert all(r["x"] == {"y": [r["n"]]} for r in lines)
    got = sorted(read_topic(server, target), key=lambda r: r["n"])
    assert got == events[:100]
    assert call(server, "POST", f"/{source}/stop")["state"] == "stopped"
    call(server, "DELETE", f"/{source}")
    assert refused(server, "GET", f"/{source}")[0] == 404


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_input(server, unique, codec):
    source, target = unique("in"), unique("out")
    producer = KafkaProducer(bootstrap_servers=server.kafka, compression_type=codec, linger_ms=20)
    for i in range(5000):
        producer.send(source, json.dumps({"i": i, "pad": "x" * 50}).encode())
    producer.flush()
    run_job(server, source, f"SELECT i INTO o FROM [{source}] WHERE i >= 4000", [{"name": "o", "topic": target}])
    wait(lambda: done(server, source, 5000))
    wait(lambda: len(read_topic(server, target)) == 1000)
    assert sorted(r["i"] for r in read_topic(server, target)) == list(range(4000, 5000))
    call(server, "DELETE", f"/{source}")


def test_malformed_events_are_counted(server, unique):
    source, target = unique("in"), unique("out")
    produce(server, source, [{"a": 1}, b"{\"a\":", b"", b"\xff\xfe", b"[{\"a\":2},{\"a\":3}]", b"7", {"a": 4}])
    run_job(server, source, f"SELECT a INTO o FROM [{source}]", [{"name": "o", "topic": target}])
    now = wait(lambda: done(server, source, 8))
    assert (now["events"], now["malformed"]) == (4, 4)
    assert now["malformed_text"] and now["error"] is None
    assert "twice" in now["guarantee"]
    wait(lambda: len(read_topic(server, target)) == 4)
    assert sorted(r["a"] for r in read_topic(server, target)) == [1, 2, 3, 4]
    call(server, "DELETE", f"/{source}")


def test_runtime_error_fails_the_job_only(server, unique):
    source, target = unique("in"), unique("out")
    produce(server, source, [{"a": "x"}])
    run_job(server, source, f"SELECT CAST(a AS bigint) AS b INTO o FROM [{source}]", [{"name": "o", "topic": target}])
    now = wait(lambda: (s := status(server, source))["state"] == "failed" and s)
    assert "cannot cast" in now["error"] and "line 1, column 8" in now["error"]
    call(server, "DELETE", f"/{source}")


def test_refused_definitions(server, unique):
    good = {"name": unique("j"), "query": "SELECT a INTO o FROM i"}
    code, text = refused(server, "POST", "", {**good, "query": "SELECT UPER(a) FROM i"})
    assert code == 400 and "1:8" in text and "did you mean UPPER?" in text
    code, text = refused(server, "POST", "", {**good, "querry": "x"})
    assert code == 400 and "querry" in text
    code, text = refused(server, "POST", "", {**good, "outputs": [{"name": "o", "blob": "noslash"}]})
    assert code == 400 and "noslash" in text
    code, text = refused(server, "POST", "", {**good, "outputs": [{"name": "other", "topic": "t"}]})
    assert code == 400 and "other" in text
    call(server, "POST", "", good)
    assert refused(server, "POST", "", good)[0] == 409
    assert any(j["name"] == good["name"] for j in call(server, "GET", "")["jobs"])
    call(server, "DELETE", f"/{good['name']}")
    assert refused(server, "POST", f"/{good['name']}/start")[0] == 404


@pytest.mark.timeout(120 + 10 * CYCLES)
def test_resumes_after_kill(start_server, unique):
    """No input event is lost over kill -9; rows may come twice."""
    server = start_server()
    server.fix_ports()
    produce(server, "in", [{"i": i} for i in range(500)], partitions=2)
    run_job(server, "job", "SELECT i INTO o FROM [in]\nSELECT i INTO b FROM [in]",
            [{"name": "o", "topic": "out"}, {"name": "b", "blob": "cont/o.csv"}])
    sent = 500
    for cycle in range(CYCLES):
        produce(server, "in", [{"i": sent + i} for i in range(2000)])
        sent += 2000
        time.sleep(0.02 * (cycle % 8))
        server.kill()
        server.start()
        assert wait(lambda: status(server, "job")["state"] in ("running", "starting", "waiting"))
    wait(lambda: len({r["i"] for r in read_topic(server, "out")}) >= sent)
    assert {r["i"] for r in read_topic(server, "out")} == set(range(sent))

    def blob_rows():
        return list(csv.reader(io.StringIO(read_blob(server, "cont", "o.csv"))))

    wait(lambda: len({r[0] for r in blob_rows()}) > sent)
    assert {r[0] for r in blob_rows()} == {"i"} | {str(i) for i in range(sent)}
    assert server.stop() == 0
    server.start()
    assert wait(lambda: status(server, "job")["state"] == "running")
    produce(server, "in", [{"i": sent}])
    wait(lambda: any(r["i"] == sent for r in read_topic(server, "out")))
    assert sum(r["i"] == sent for r in read_topic(server, "out")) == 1


def test_counts_are_kept_over_a_kill(start_server):
    """Counts go with the positions: they go on after kill -9, and no event counts twice."""
    server = start_server()
    server.fix_ports()
    produce(server, "in", [{"i": i} for i in range(300)] + [b"{", b"no", b"[1"], partitions=2)
    run_job(server, "job", "SELECT i INTO o FROM [in] WHERE i >= 100", [{"name": "o", "topic": "out"}])
    wait(lambda: done(server, "job", 303) and status(server, "job")["epochs"] > 0)
    before = wait(lambda: (s := status(server, "job"))["saved"]["counts"]["rows"] == 200 and s)
    assert (before["events"], before["malformed"], before["rows"], before["lag"]) == (300, 3, 200, 0)
    assert "at least once" in before["guarantee"] and before["restarts_since_start"] == 0
    server.kill()
    server.start()
    after = status(server, "job")
    assert (after["events"], after["malformed"], after["rows"]) == (300, 3, 200)
    produce(server, "in", [{"i": i} for i in range(300, 350)])
    now = wait(lambda: done(server, "job", 353))
    assert (now["events"], now["malformed"], now["malformed_text"]) == (350, 3, None)
    call(server, "POST", "/job/stop")
    now = status(server, "job")
    assert (now["state"], now["events"], now["rows"], now["lag"]) == ("stopped", 350, 250, None)


def test_latest_misses_nothing_once_it_runs(start_server):
    server = start_server()
    server.fix_ports()
    produce(server, "in", [{"i": -1}] * 50, partitions=3)
    run_job(server, "job", "SELECT i INTO o FROM [in]", [{"name": "o", "topic": "out"}], start="latest")
    wait(lambda: status(server, "job")["state"] == "running")
    produce(server, "in", [{"i": i} for i in range(200)])
    server.kill()
    server.start()
    wait(lambda: len({r["i"] for r in read_topic(server, "out")}) >= 200)
    assert {r["i"] for r in read_topic(server, "out")} == set(range(200))


def test_topics_that_do_not_exist_are_waited_for(start_server, tmp_path):
    """Where topics are not made by use, a job says which one it lacks, and goes on when it is made."""
    config = tmp_path / "weir.yaml"
    config.write_text("log:\n  auto_create: false\n")
    server = start_server("--config", str(config))
    run_job(server, "job", "SELECT i INTO o FROM [in]", [{"name": "o", "topic": "out"}])

    def waits_for(text):
        now = status(server, "job")
        return now["state"] in ("waiting", "starting") and now["error"] and text in now["error"]

    wait(lambda: waits_for("the output topic 'out' does not exist"))
    admin = KafkaAdminClient(bootstrap_servers=server.kafka)
    admin.create_topics([NewTopic("out", 1, 1)])
    wait(lambda: waits_for("the input topic 'in' does not exist"))
    admin.create_topics([NewTopic("in", 1, 1)])
    produce(server, "in", [{"i": 7}])
    now = wait(lambda: (s := status(server, "job"))["events"] == 1 and s)
    assert now["restarts_since_start"] > 0
    wait(lambda: read_topic(server, "out") == [{"i": 7}])
    wait(lambda: status(server, "job")["error"] is None)
    admin.delete_topics(["out"])
    produce(server, "in", [{"i": 8}])
    wait(lambda: waits_for("out"))
    admin.create_topics([NewTopic("out", 1, 1)])
    wait(lambda: read_topic(server, "out") == [{"i": 8}])
    admin.delete_topics(["in"])
    wait(lambda: waits_for("in"))
    admin.create_topics([NewTopic("in", 2, 1)])
    produce(server, "in", [{"i": 9}])
    wait(lambda: read_topic(server, "out") == [{"i": 8}, {"i": 9}])
    admin.close()


def test_outputs_deleted_under_the_job(server, unique):
    """Container, blob and topic come back with what is written next; a CSV blob has its header again."""
    source, target, container = unique("in"), unique("out"), unique("c")
    produce(server, source, [{"i": 1}])
    run_job(server, source, f"SELECT i INTO b FROM [{source}]\nSELECT i INTO o FROM [{source}]",
            [{"name": "b", "blob": f"{container}/x.csv"}, {"name": "o", "topic": target}])
    wait(lambda: read_blob(server, container, "x.csv") == "i\r\n1\r\n")
    blobs = BlobServiceClient.from_connection_string(server.blob_connection)
    blobs.get_blob_client(container, "x.csv").delete_blob()
    produce(server, source, [{"i": 2}])
    wait(lambda: read_blob(server, container, "x.csv") == "i\r\n2\r\n")
    blobs.delete_container(container)
    produce(server, source, [{"i": 3}])
    wait(lambda: read_blob(server, container, "x.csv") == "i\r\n3\r\n")
    wait(lambda: len(read_topic(server, target)) == 3)
    admin = KafkaAdminClient(bootstrap_servers=server.kafka)
    admin.delete_topics([target])
    produce(server, source, [{"i": 4}])
    wait(lambda: {"i": 4} in read_topic(server, target))
    wait(lambda: "4" in read_blob(server, container, "x.csv").split())
    admin.close()
    assert status(server, source)["state"] == "running"
    call(server, "DELETE", f"/{source}")


def test_full_disk(small_disk, start_server):
    """A full disk stops the job's outputs, not the job: it says so and goes on when there is room again."""
    server = start_server(data=small_disk / "data")
    produce(server, "in", [{"i": 0}])
    run_job(server, "job", "SELECT i, pad INTO b FROM [in]", [{"name": "b", "blob": "con/out.csv"}])
    wait(lambda: done(server, "job", 1))
    produce(server, "in", [{"i": i, "pad": "x" * 1000} for i in range(1, 2001)])
    wait(lambda: done(server, "job", 2001))
    call(server, "POST", "/job/stop")
    produce(server, "in", [{"i": i, "pad": "x" * 1000} for i in range(2001, 6001)])
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    with open(filler, "wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_bsize - (1 << 20))))
    try:
        call(server, "POST", "/job/start")
    except urllib.error.HTTPError as full:  # the wish to run may find no room already
        assert full.code == 507
        call(server, "GET", "/job")
    else:
        now = wait(lambda: (s := status(server, "job"))["state"] in ("waiting", "starting") and s["error"] and s)
        assert "full" in now["error"]
    filler.unlink()
    call(server, "POST", "/job/start")

    def numbers():
        return {row[0] for row in csv.reader(io.StringIO(read_blob(server, "con", "out.csv")))}

    wait(lambda: len(numbers()) >= 6002)
    assert numbers() == {"i"} | {str(i) for i in range(6001)}
    wait(lambda: (s := status(server, "job"))["error"] is None and s["events"] == 6001)
    assert server.stop() == 0


def test_messages_of_the_compiler(server, unique, weir, tmp_path):
    """Line, column, text and hint of every message, as JSON and on the command line."""
    name = unique("j")
    code, text = refused(server, "POST", "", {"name": name, "query": "SELECT a,\n  UPER(b) INTO o FROM i"})
    assert code == 400
    first = json.loads(text)["error"]["diagnostics"][0]
    assert (first["line"], first["column"], first["severity"]) == (2, 3, "error")
    assert "UPER" in first["text"] and first["hint"] == "did you mean UPPER?"
    job = tmp_path / "job.yaml"
    job.write_text(f"name: {name}\nquery: SELECT UPER(a) INTO o FROM i\n")
    status_code, out, err = weir("job", "create", job, "--admin", server.admin)
    assert status_code != 0 and out == "" and "1:8" in err and "did you mean UPPER?" in err
    job.write_text(f"name: {name}\nquery: SELECT a INTO o FROM i\noutputs:\n  - {{name: o, blob: con/x, fromat: csv}}\n")
    status_code, out, err = weir("job", "create", job, "--admin", server.admin)
    assert status_code == 2 and f"{job}:4:28: unknown key 'fromat'; did you mean 'format'?" in err
    code, text = refused(server, "POST", "", {"name": name, "query": "SELECT a INTO o FROM i", "strat": "latest"})
    assert code == 400 and "unknown key 'strat'; did you mean 'start'?" in json.loads(text)["error"]["message"]
    assert refused(server, "GET", f"/{name}")[0] == 404


def test_commands(server, unique, weir, tmp_path):
    """create, list, show, stop and delete of the command line, with the figures a user looks for."""
    source, target = unique("in"), unique("out")
    produce(server, source, [{"i": i} for i in range(10)])
    job = tmp_path / "job.yaml"
    job.write_text(f"name: {source}\nquery: SELECT i INTO o FROM [{source}]\noutputs:\n  - {{name: o, topic: {target}}}\n")
    assert weir("job", "create", job, "--start", "--admin", server.admin)[0] == 0
    wait(lambda: len(read_topic(server, target)) == 10)
    wait(lambda: done(server, source, 10)["lag"] == 0)
    _, out, _ = weir("job", "list", "--admin", server.admin)
    assert out.splitlines()[0].split() == ["name", "state", "events", "rows", "malformed", "lag", "error"]
    row = next(line.split() for line in out.splitlines() if line.startswith(source))
    assert row[1:] == ["running", "10", "10", "0", "0", "-"]
    assert weir("job", "stop", source, "--admin", server.admin)[0] == 0
    _, out, _ = weir("job", "show", source, "-o", "json", "--admin", server.admin)
    shown = json.loads(out)["status"]
    assert (shown["state"], shown["events"], shown["lag"]) == ("stopped", 10, None)
    assert weir("job", "delete", source, "--admin", server.admin)[0] == 0
    status_code, _, err = weir("job", "show", source, "--admin", server.admin)
    assert status_code == 1 and "no job" in err
