"""What one client of the Kafka door may hold, and that others do not feel it."""
import re
import struct
import threading
import time
import urllib.request

import pytest
from kafka_fixtures import create, fetch_request, kafka_wire, produce, produce_request

MIB = 1 << 20


def metric(server, name):
    with urllib.request.urlopen(f"http://{server.admin}/metrics", timeout=10) as answer:
        return int(re.search(rf"^{name} (\d+)$", answer.read().decode(), re.M)[1])


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def memory(server):
    """Bytes of resident memory."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_connections_are_counted_and_limited(start_server, tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text("kafka: {connections_max: 3}\n")
    server = start_server("--config", str(file))
    held = [kafka_wire.Connection(server.kafka) for _ in range(3)]
    for wire in held:
        assert wire.call("api_versions", 0)["error_code"] == 0
    assert metric(server, "weir_kafka_connections") == 3
    with kafka_wire.Connection(server.kafka) as wire:
        assert wire.is_closed()
    assert metric(server, "weir_kafka_connections_refused_total") == 1
    held.pop().socket.close()
    until(lambda: metric(server, "weir_kafka_connections") == 2)
    with kafka_wire.Connection(server.kafka) as wire:
        assert wire.call("api_versions", 0)["error_code"] == 0
    for wire in held:
        assert wire.call("api_versions", 0)["error_code"] == 0
        wire.socket.close()


def test_a_slow_reader_keeps_its_answers(start_server, unique):
    """It asks for far more than may be queued for it and reads nothing meanwhile: it gets all in order, and the server
    holds little."""
    server = start_server("--shards", "1")
    topic, count = unique(), 90
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, topic)
        batch = kafka_wire.batch([b"x" * 1_000_000])
        for _ in range(8):
            produce(wire, topic, batch)
        slow = kafka_wire.Connection(server.kafka, timeout=60)
        wanted = fetch_request(topic, most=64 * MIB, part_most=64 * MIB)
        before = memory(server)
        slow.socket.sendall(b"".join(slow.request("fetch", 11, wanted) for _ in range(count)))
        create(wire, topic + "-other")
        for _ in range(50):
            assert produce(wire, topic + "-other", kafka_wire.batch([b"x"]))["error_code"] == 0
        for number in range(count):
            answer = slow.receive("fetch", 11, number + 1)["responses"][0]["partitions"][0]
            assert (answer["error_code"], len(answer["records"]) > 8_000_000) == (0, True)
            if number == 0:
                assert memory(server) - before < 200 * MIB
        slow.socket.close()


def test_large_frames_wait_for_one_another(start_server, unique):
    """Two clients begin frames of the largest size and fall silent: a third large one waits, small ones do not."""
    server = start_server("--shards", "1")
    topic = unique()
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, topic)
        silent = [kafka_wire.Connection(server.kafka) for _ in range(2)]
        for each in silent:
            each.socket.sendall(struct.pack(">i", 100 * MIB) + b"\0\0\0\7" + b"x" * MIB)
        large = kafka_wire.Connection(server.kafka, timeout=60)
        frame = large.request("produce", 9, produce_request(topic, kafka_wire.batch([b"x"])))
        frame = struct.pack(">i", 80 * MIB) + frame[4:]
        sender = threading.Thread(target=large.socket.sendall, args=(frame + bytes(80 * MIB + 4 - len(frame)),))
        sender.start()
        until(lambda: metric(server, "weir_kafka_connections_waiting") == 1)
        assert produce(wire, topic, kafka_wire.batch([b"y" * 200_000]))["error_code"] == 0
        assert metric(server, "weir_kafka_connections_waiting") == 1
        silent[0].socket.close()
        answer = large.receive("produce", 9)["responses"][0]["partition_responses"][0]
        assert answer["error_code"] == 0 and metric(server, "weir_kafka_connections_waiting") == 0
        sender.join()
        for each in (silent[1], large):
            each.socket.close()


@pytest.mark.parametrize("bad", [b"\0\0\0\4\0\0\0\x63", struct.pack(">i", -1)])
def test_what_came_before_a_bad_request_is_answered(server, unique, bad):
    topic = unique()
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, topic, 8)
        batch = kafka_wire.batch([b"x" * 10000])
        frames = [wire.request("produce", 9, produce_request(topic, batch, partition)) for partition in range(8)]
        first = wire.correlation - 7
        wire.socket.sendall(b"".join(frames) + bad)
        for number in range(8):
            answer = wire.receive("produce", 9, first + number)["responses"][0]["partition_responses"][0]
            assert (answer["error_code"], answer["base_offset"]) == (0, 0)
        assert wire.is_closed()


def test_what_a_stopping_server_took_is_answered(start_server, unique):
    """Else a producer without sequences sends it again: as many records are in the log as were acknowledged."""
    server, topic = start_server(), unique()
    connections = [kafka_wire.Connection(server.kafka, timeout=30) for _ in range(4)]
    create(connections[0], topic, 4)
    acknowledged = [0] * 4
    started = threading.Barrier(5)

    def load(number):
        wire, batch, expected = connections[number], kafka_wire.batch([b"x" * 20000]), connections[number].correlation
        request = produce_request(topic, batch, number)

        def receive():
            nonlocal expected
            expected += 1
            answer = wire.receive("produce", 9, expected)["responses"][0]["partition_responses"][0]
            acknowledged[number] += answer["error_code"] == 0
        try:
            for _ in range(30):
                wire.send("produce", 9, request)
            while True:
                receive()
                if acknowledged[number] == 20:
                    started.wait()
                wire.send("produce", 9, request)
        except OSError:
            pass
        except kafka_wire.Closed:
            return
        try:
            while True:  # what was on its way when sending failed
                receive()
        except (kafka_wire.Closed, OSError):
            pass
    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    server.start()
    with kafka_wire.Connection(server.kafka) as wire:
        for partition in range(4):
            answer = {}

            def served():
                answer.update(wire.call("fetch", 11, fetch_request(topic, partition=partition))["responses"][0]["partitions"][0])
                return answer["error_code"] == 0
            until(served)
            assert answer["high_watermark"] == acknowledged[partition] > 20


def peak(server):
    """The most bytes of resident memory that the server ever had."""
    with open(f"/proc/{server.process.pid}/status") as file:
        return int(re.search(r"VmHWM:\s*(\d+) kB", file.read())[1]) * 1024


def test_groups_named_a_thousand_times_hold_no_more_than_an_answer(start_server, unique):
    server = start_server("--shards", "1")
    topic, group = unique(), unique("g")
    with kafka_wire.Connection(server.kafka, timeout=60) as wire:
        create(wire, topic, 500)
        joined = wire.call("join_group", 3, {
            "group_id": group, "session_timeout_ms": 30000, "rebalance_timeout_ms": 5000, "protocol_type": "consumer",
            "protocols": [{"name": "range", "metadata": b"x" * 1_000_000}]})
        member = {"generation_id": 1, "member_id": joined["member_id"]}
        wire.call("sync_group", 3, {"group_id": group, **member})
        wire.call("offset_commit", 7, {
            "group_id": group, "member_id": member["member_id"], "generation_id_or_member_epoch": 1,
            "topics": [{"name": topic, "partitions": [
                {"partition_index": index, "committed_offset": 1, "committed_metadata": "m" * 4000}
                for index in range(500)]}]})
        once, twice = wire.call("describe_groups", 5, {"groups": [group]}), wire.call("describe_groups", 5, {"groups": [group] * 2})
        assert twice["groups"] == once["groups"] * 2
        asked = {"group_id": group, "topics": None}
        offsets = wire.call("offset_fetch", 8, {"groups": [asked, asked]})["groups"]
        assert offsets[0] == offsets[1] and len(offsets[0]["topics"][0]["partitions"]) == 500
        before = peak(server)
        # Their answers are larger than any may be, so the connection closes; what counts is that they are not made.
        for name, request in (("describe_groups", {"groups": [group] * 1000}), ("offset_fetch", {"groups": [asked] * 1000})):
            with kafka_wire.Connection(server.kafka, timeout=60) as greedy:
                greedy.send(name, 5 if name == "describe_groups" else 8, request)
                assert greedy.is_closed()
        assert peak(server) - before < 400 * MIB
        empty = unique("g")
        wire.call("offset_commit", 7, {"group_id": empty, "topics": [{"name": topic, "partitions": [
            {"partition_index": 0, "committed_offset": 1}]}]})
        results = wire.call("delete_groups", 2, {"groups_names": [empty, group, empty]})["results"]
        assert [row["error_code"] for row in results] == [0, 68, 69]
