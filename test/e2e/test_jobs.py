"""Jobs: what they read and write at every door, malformed events, restarts, kill -9, refused definitions."""
import csv
import io
import json
import time
import urllib.error
import urllib.request

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic


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
    assert now["state"] in ("starting", "running"), now
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


def test_resumes_after_kill(start_server, unique):
    """No input event is lost over kill -9; rows may come twice."""
    server = start_server()
    server.fix_ports()
    produce(server, "in", [{"i": i} for i in range(500)], partitions=2)
    run_job(server, "job", "SELECT i INTO o FROM [in]\nSELECT i INTO b FROM [in]",
            [{"name": "o", "topic": "out"}, {"name": "b", "blob": "cont/o.csv"}])
    sent = 500
    for cycle in range(3):
        produce(server, "in", [{"i": sent + i} for i in range(2000)])
        sent += 2000
        time.sleep(0.02 * cycle)
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
