"""The command line against a running server."""
import json

import pytest


def jsonl(text):
    return [json.loads(line) for line in text.splitlines()]


def test_topics(server, weir, unique):
    name = unique("topic")
    admin = ["--admin", server.admin]
    assert weir("topic", "create", name, "-p", 3, "-c", "retention.ms=3600000", *admin)[0] == 0
    status, out, _ = weir("topic", "describe", name, "-o", "json", *admin)
    assert status == 0
    topic = json.loads(out)
    assert topic["partitions"] == 3
    assert topic["configs"] == {"retention.ms": "3600000"}
    assert [state["high_watermark"] for state in topic["partition_states"]] == [0, 0, 0]
    status, out, _ = weir("topic", "list", "-o", "jsonl", *admin)
    assert name in [row["name"] for row in jsonl(out)]
    status, _, err = weir("topic", "create", name, *admin)
    assert status == 1 and "exists" in err
    assert weir("topic", "delete", name, *admin)[0] == 0
    status, _, err = weir("topic", "describe", name, *admin)
    assert status == 1 and err
    status, out, _ = weir("topic", "list", *admin)
    assert out.splitlines()[0].split() == ["name", "partitions", "id"]


def test_produce_and_consume(server, weir, unique):
    topic = unique("records")
    kafka = ["-b", server.kafka]
    assert weir("produce", topic, "-K", ":", *kafka, stdin=b"k1:v1\nk2:v2\nplain\n") == (0, "", "")
    status, out, _ = weir("consume", topic, "-e", "-f", r"%t %o %k=%s %K %S\n", *kafka)
    assert status == 0
    assert out.splitlines() == [f"{topic} 0 k1=v1 2 2", f"{topic} 1 k2=v2 2 2", f"{topic} 2 =plain -1 5"]
    status, out, _ = weir("consume", topic, "-J", "-c", 1, "-o", -1, *kafka)
    row = json.loads(out)
    assert (row["offset"], row["key"], row["payload"]) == (2, None, "plain")
    status, out, _ = weir("consume", topic, "-e", "-o", 1, "-c", 1, *kafka)
    assert out == "v2\n"
    for offset in (-3, -4, -2**62 - 1, -2**63 + 1, -2**63):
        assert weir("consume", topic, "-e", "-o", offset, *kafka) == (0, "v1\nv2\nplain\n", ""), offset
    assert weir("consume", topic, "-e", "-o", -2**63 - 1, *kafka)[0] == 2


def test_blobs(server, weir, unique, tmp_path):
    container = unique("box")
    from azure.storage.blob import BlobServiceClient
    BlobServiceClient.from_connection_string(server.blob_connection).create_container(container)
    blob = ["--blob", server.blob]
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(range(256)) * 5000)
    assert weir("blob", "put", source, f"{container}/a folder/source.bin", *blob)[0] == 0
    status, out, _ = weir("blob", "ls", container, "-o", "json", *blob)
    assert [(row["name"], row["size"]) for row in json.loads(out)] == [("a folder/source.bin", 1280000)]
    assert weir("blob", "get", f"{container}/a folder/source.bin", tmp_path / "copy.bin", *blob)[0] == 0
    assert (tmp_path / "copy.bin").read_bytes() == source.read_bytes()
    status, _, err = weir("blob", "get", f"{container}/none", *blob)
    assert status == 1 and "does not exist" in err
    # a file that is there stays when the blob does not come, and is replaced when it does
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "mine").chmod(0o640)
    assert weir("blob", "get", f"{container}/none", tmp_path / "mine", *blob)[0] == 1
    assert (tmp_path / "mine").read_text() == "mine"
    assert weir("blob", "put", tmp_path / "mine", f"{container}/folder/", *blob)[0] == 0  # a name may end in a slash
    assert weir("blob", "get", f"{container}/folder/", *blob)[1] == "mine"
    assert weir("blob", "get", f"{container}/a folder/source.bin", tmp_path / "mine", *blob)[0] == 0
    assert (tmp_path / "mine").read_bytes() == source.read_bytes()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.bin", "mine", "source.bin"]
    assert weir("blob", "get", f"{container}/folder/", tmp_path / "nowhere/x", *blob)[0] == 1
    status, out, _ = weir("blob", "ls", "-o", "json", *blob)
    assert container in [row["name"] for row in json.loads(out)]
    status, _, err = weir("blob", "ls", container, "--key", "d3Jvbmcga2V5IQ==", *blob)
    assert status == 1 and err


@pytest.mark.parametrize("arguments, words", [
    (["topc"], "did you mean 'topic'?"),
    (["topic", "create"], "an operand is missing"),
    (["topic", "create", "t", "-c", b"retention.ms=\xff"], "not UTF-8"),
    (["topic", "create", "t", "-c", "n" * 300 + "=1"], "too long"),
    (["topic", "list", "-o", "yaml"], "table|json|jsonl"),
    (["consume", "t", "-f", "%q"], "does not know '%q'"),
    (["consume", "t", "-o", "nowhere"], "--offset takes"),
    (["serve"], "--data"),
    (["serve", "--data", "x", "--kafka-port", "70000"], "65535"),
])
def test_wrong_usage(weir, arguments, words):
    status, out, err = weir(*arguments)
    assert (status, out) == (2, "")
    assert words in err


def test_nobody_listens(weir):
    status, _, err = weir("topic", "list", "--admin", "127.0.0.1:1")
    assert status == 1 and "127.0.0.1:1" in err


def test_generate_is_seeded(weir):
    first = weir("generate", "telemetry", "-n", 1000, "-s", 7)
    assert first == weir("generate", "telemetry", "-n", 1000, "-s", 7)
    assert first != weir("generate", "telemetry", "-n", 1000, "-s", 8)
    events = jsonl(first[1])
    assert [event["seq"] for event in events] == list(range(1000))
    assert set(events[0]) == {"deviceId", "type", "value", "createdAt", "seq", "eventId", "site", "ok"}


def test_consume_to_the_end_reads_every_partition(server, weir, unique):
    """What is written after the reading began does not count: a busy partition neither cuts off the others nor keeps
    the command from ending."""
    import threading
    import confluent_kafka
    topic = unique("trickle")
    assert weir("topic", "create", topic, "-p", 2, "--admin", server.admin)[0] == 0
    lines = [f"{number:0200}" for number in range(300000)]  # several fetches long
    assert weir("produce", topic, "-p", 0, "-b", server.kafka, stdin="\n".join(lines).encode())[0] == 0
    ending = threading.Event()

    def trickle():
        producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, "linger.ms": 0, "log_level": 0})
        while not ending.wait(0.002):
            producer.produce(topic, b"more", partition=1)
            producer.poll(0)
        producer.flush(10)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        status, out, err = weir("consume", topic, "-e", "-b", server.kafka)
    finally:
        ending.set()
        thread.join()
    assert (status, err) == (0, "")
    assert [line for line in out.splitlines() if line != "more"] == lines
