"""The Kafka door's framing, version negotiation and order of answers."""
import socket
import struct
import threading
import time

import pytest
from kafka_fixtures import create, fetch_request, kafka_wire, produce, produce_request

CLIENT = {"client_software_name": "weir-test", "client_software_version": "1.0"}


@pytest.fixture
def wire(server):
    with kafka_wire.Connection(server.kafka) as connection:
        yield connection


@pytest.mark.parametrize("version", range(5))
def test_api_versions_lists_what_is_served(wire, version):
    answer = wire.call("api_versions", version, CLIENT if version >= 3 else {})
    served = {row["api_key"]: (row["min_version"], row["max_version"]) for row in answer["api_keys"]}
    assert answer["error_code"] == 0
    for name, api in kafka_wire.APIS.items():
        low, high = map(int, api["versions"].split("-"))
        assert served[api["key"]] == (low, high), name
    # Old librdkafka stops compressing, refuses SASL or idempotence unless these stand inside the ranges.
    for key, version_needed in [(0, 0), (0, 3), (0, 7), (1, 4), (1, 10), (2, 1), (10, 0), (11, 0), (22, 0)]:
        assert served[key][0] <= version_needed <= served[key][1]
    assert 71 not in served and 72 not in served


def test_newer_api_versions_is_answered_in_version_0(wire):
    wire.socket.sendall(wire.request("api_versions", 4, CLIENT).replace(b"\0\x12\0\x04", b"\0\x12\0\x63", 1))
    answer = wire.receive("api_versions", 0)
    assert answer["error_code"] == 35
    assert {"api_key": 18, "min_version": 0, "max_version": 4} in answer["api_keys"]
    assert wire.call("api_versions", 4, CLIENT)["error_code"] == 0


@pytest.mark.parametrize("name", ["", "-x", "x.", "a b", "a\0"])
def test_software_name_is_checked(wire, name):
    assert wire.call("api_versions", 3, {**CLIENT, "client_software_name": name})["error_code"] == 42


@pytest.mark.parametrize("key,version", [(999, 0), (-1, 0), (4, 0), (0, 99), (3, -1), (17, 0)])
def test_unserved_key_or_version_closes(wire, key, version):
    wire.socket.sendall(struct.pack(">ihhih", 10, key, version, 1, -1))
    assert wire.is_closed()


@pytest.mark.parametrize("length", [-1, -2**31, 100 * 1024 * 1024 + 1, 2**31 - 1])
def test_impossible_length_closes(wire, length):
    wire.socket.sendall(struct.pack(">i", length) + b"x" * 64)
    assert wire.is_closed()


def test_short_frames_close(server):
    whole = None
    for length in range(0, 14):
        with kafka_wire.Connection(server.kafka) as wire:
            whole = wire.request("metadata", 1, {})
            wire.socket.sendall(struct.pack(">i", length) + whole[4:4 + length])
            assert wire.is_closed(), length


def test_other_protocols_close(server):
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"AMQP\0\1\0\0", bytes(reversed(range(256)))):
        with kafka_wire.Connection(server.kafka) as wire:
            wire.socket.sendall(text)
            assert wire.is_closed()


@pytest.mark.parametrize("name", sorted(kafka_wire.APIS))
def test_truncated_bodies_close_and_harm_nobody(server, name):
    low, high = map(int, kafka_wire.APIS[name]["versions"].split("-"))
    golden = kafka_wire.ROOT / "test/unit/wire/kafka_golden.txt"
    rows = [line.rstrip("\n").split(" ") for line in golden.read_text().splitlines()]
    bodies = [bytes.fromhex(row[3]) for row in rows if row[:3] == [name, "request", str(high)] and row[3]]
    for body in bodies:
        for cut in {0, 1, len(body) // 3, len(body) // 2, len(body) - 1} - {len(body)}:
            with kafka_wire.Connection(server.kafka) as wire:
                wire.socket.sendall(wire.request(name, high, body=body[:cut]))
                assert wire.is_closed()
    with kafka_wire.Connection(server.kafka) as wire:
        assert wire.call("api_versions", 0)["error_code"] == 0


def test_huge_counts_close(server):
    for count in (2**31 - 1, 2**28, 10**6):
        with kafka_wire.Connection(server.kafka) as wire:
            wire.socket.sendall(wire.request("metadata", 1, body=struct.pack(">i", count) + b"\0\0"))
            assert wire.is_closed()


def test_answers_come_in_the_order_of_requests(server, wire, unique):
    topic = unique()
    create(wire, topic)
    first = wire.send("fetch", 11, fetch_request(topic, wait=700))
    second = wire.send("metadata", 9, {"topics": [{"name": topic}]})
    third = wire.send("api_versions", 2)
    started = time.monotonic()
    wire.receive("fetch", 11, first)
    assert time.monotonic() - started > 0.4
    wire.receive("metadata", 9, second)
    wire.receive("api_versions", 2, third)


def test_bytes_may_come_one_by_one(wire):
    for byte in wire.request("api_versions", 2):
        wire.socket.sendall(bytes([byte]))
    assert wire.receive("api_versions", 2)["error_code"] == 0


def test_a_thousand_pipelined_requests(wire, unique):
    topic = unique()
    create(wire, topic)
    batch = kafka_wire.batch([b"x" * 100])
    sent = []
    frames = b""
    for _ in range(1000):
        frames += wire.request("produce", 9, produce_request(topic, batch))
        sent.append(wire.correlation)
    wire.socket.settimeout(60)
    wire.socket.sendall(frames)
    offsets = [wire.receive("produce", 9, correlation)["responses"][0]["partition_responses"][0]["base_offset"]
               for correlation in sent]
    assert offsets == list(range(1000))


def test_acks_0_is_silent(wire, unique):
    topic = unique()
    create(wire, topic)
    batch = kafka_wire.batch([b"quiet"])
    for _ in range(5):
        wire.send("produce", 9, produce_request(topic, batch, acks=0))
    assert wire.call("api_versions", 0)["error_code"] == 0
    assert produce(wire, topic, batch)["base_offset"] == 5


def test_failed_acks_0_closes(wire, unique):
    wire.send("produce", 9, produce_request(unique("none"), kafka_wire.batch([b"x"]), acks=0))
    assert wire.is_closed()


def test_a_peer_that_leaves_during_a_long_poll_harms_nobody(server, wire, unique):
    topic = unique()
    create(wire, topic)
    for _ in range(50):
        gone = kafka_wire.Connection(server.kafka)
        gone.send("fetch", 11, fetch_request(topic, wait=30000))
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.socket.close()
    assert produce(wire, topic, kafka_wire.batch([b"x"]))["error_code"] == 0


def test_order_holds_when_more_comes_than_the_disk_takes(server, wire, unique):
    """Six producers send far ahead of their answers: nothing is refused, so no repetition can overtake."""
    topic, count = unique(), 30
    create(wire, topic, 6)
    batch = kafka_wire.batch([b"x" * 1_000_000])
    connections = [kafka_wire.Connection(server.kafka, timeout=60) for _ in range(6)]

    def send_all(connection, partition):
        for _ in range(count):
            connection.send("produce", 9, produce_request(topic, batch, partition))
    threads = [threading.Thread(target=send_all, args=(connection, partition))
               for partition, connection in enumerate(connections)]
    for thread in threads:
        thread.start()
    for connection in connections:
        for i in range(count):
            answer = connection.receive("produce", 9, i + 1)["responses"][0]["partition_responses"][0]
            assert (answer["error_code"], answer["base_offset"]) == (0, i)
    for thread, connection in zip(threads, connections):
        thread.join()
        connection.socket.close()
