"""Fetch, ListOffsets and OffsetForLeaderEpoch at the level of frames: waiting, limits, sessions, old formats."""
import gzip
import threading
import time

import pytest
from kafka_fixtures import create, fetch, fetch_request, kafka_wire, offset_at, produce

batch = kafka_wire.batch


@pytest.fixture
def wire(server):
    with kafka_wire.Connection(server.kafka) as connection:
        yield connection


@pytest.fixture
def topic(wire, unique):
    name = unique()
    create(wire, name)
    return name


@pytest.mark.parametrize("version", range(19))
def test_every_version_reads(wire, unique, version):
    name = unique()
    topic_id = create(wire, name)
    produce(wire, name, batch([b"one", b"two"], keys=[b"k", None]))
    answer = wire.call("fetch", version, {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "topics": [{
        **({"topic_id": topic_id} if version >= 13 else {"topic": name}),
        "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]}]})
    part = answer["responses"][0]["partitions"][0]
    assert (part["error_code"], part["high_watermark"]) == (0, 2)
    if version < 4:
        assert kafka_wire.messages(part["records"]) == [(0, b"one"), (1, b"two")]
    else:
        assert kafka_wire.values(part["records"]) == [(0, b"k", b"one"), (1, None, b"two")]
        assert part["last_stable_offset"] == 2
    if version >= 5:
        assert part["log_start_offset"] == 0


def test_inside_a_batch_gives_the_whole_batch(wire, topic):
    produce(wire, topic, batch([b"0", b"1", b"2"]))
    produce(wire, topic, batch([b"3"]))
    assert [offset for offset, _, _ in kafka_wire.values(fetch(wire, topic, 1)["records"])] == [0, 1, 2, 3]
    assert [offset for offset, _, _ in kafka_wire.values(fetch(wire, topic, 3)["records"])] == [3]


def test_out_of_range_tells_the_bounds(wire, topic):
    produce(wire, topic, batch([b"0"]))
    for offset in (2, 2**62, -1):
        part = fetch(wire, topic, offset)
        assert (part["error_code"], part["high_watermark"], part["log_start_offset"]) == (1, 1, 0)
        assert part["records"] == b""


def test_unknown_topic_partition_and_id(wire, topic, unique):
    assert fetch(wire, unique("none"))["error_code"] == 3
    assert fetch(wire, topic, partition=1)["error_code"] == 3
    answer = wire.call("fetch", 13, {"max_wait_ms": 5000, "min_bytes": 1, "topics": [{
        "topic_id": b"\2" * 16, "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 100}]}]})
    assert answer["responses"][0]["partitions"][0]["error_code"] == 100


def test_an_error_ends_the_wait(wire, unique):
    started = time.monotonic()
    assert fetch(wire, unique("none"), wait=10000)["error_code"] == 3
    assert time.monotonic() - started < 5


def test_max_wait_is_waited_and_no_longer(wire, topic):
    started = time.monotonic()
    part = fetch(wire, topic, wait=400)
    assert 0.35 <= time.monotonic() - started < 5
    assert (part["error_code"], part["records"], part["high_watermark"]) == (0, b"", 0)
    started = time.monotonic()
    fetch(wire, topic, wait=0)
    assert time.monotonic() - started < 0.3


def test_an_append_wakes_the_wait(server, wire, topic):
    wire.send("fetch", 11, fetch_request(topic, wait=20000))
    with kafka_wire.Connection(server.kafka) as other:
        produce(other, topic, batch([b"wake"]))
    started = time.monotonic()
    part = wire.receive("fetch", 11)["responses"][0]["partitions"][0]
    assert time.monotonic() - started < 5
    assert kafka_wire.values(part["records"])[0][2] == b"wake"


def test_min_bytes_is_waited_for(server, wire, topic):
    wire.send("fetch", 11, fetch_request(topic, wait=20000, least=1000))
    with kafka_wire.Connection(server.kafka) as other:
        produce(other, topic, batch([b"x" * 100]))
        wire.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            wire.frame()
        wire.socket.settimeout(15)
        produce(other, topic, batch([b"x" * 1500]))
    part = wire.receive("fetch", 11)["responses"][0]["partitions"][0]
    assert len(kafka_wire.values(part["records"])) == 2


def test_first_batch_comes_whole_whatever_the_limits(wire, unique):
    name = unique()
    create(wire, name, 2)
    for partition in (0, 1):
        produce(wire, name, batch([b"x" * 5000]), partition=partition)
    answer = wire.call("fetch", 11, {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 10, "topics": [{
        "topic": name, "partitions": [
            {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 10},
            {"partition": 1, "fetch_offset": 0, "partition_max_bytes": 10}]}]})
    first, second = answer["responses"][0]["partitions"]
    assert len(kafka_wire.values(first["records"])) == 1
    assert len(second["records"]) <= 10 and not kafka_wire.values(second["records"])


def test_limits_end_the_wait(wire, topic):
    produce(wire, topic, batch([b"x" * 3000]))
    produce(wire, topic, batch([b"x" * 3000]))
    started = time.monotonic()
    part = fetch(wire, topic, wait=10000, least=1 << 20, part_most=3500)
    assert time.monotonic() - started < 5
    assert len(kafka_wire.values(part["records"])) == 1


def test_leader_epochs(wire, topic):
    metadata = wire.call("metadata", 9, {"topics": [{"name": topic}]})
    epoch = metadata["topics"][0]["partitions"][0]["leader_epoch"]
    assert epoch >= 0

    def with_epoch(value):
        return wire.call("fetch", 11, {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 100, "topics": [{
            "topic": topic, "partitions": [{"partition": 0, "current_leader_epoch": value, "fetch_offset": 0,
                                            "partition_max_bytes": 100}]}]})["responses"][0]["partitions"][0]
    assert with_epoch(epoch)["error_code"] == 0
    assert with_epoch(epoch + 1)["error_code"] == 75
    if epoch > 0:
        assert with_epoch(epoch - 1)["error_code"] == 74
    produce(wire, topic, batch([b"a", b"b"]))

    def end_of(epoch_asked, current=-1):
        answer = wire.call("offset_for_leader_epoch", 4, {"replica_id": -1, "topics": [{
            "topic": topic, "partitions": [{"partition": 0, "current_leader_epoch": current,
                                            "leader_epoch": epoch_asked}]}]})
        return answer["topics"][0]["partitions"][0]
    part = end_of(epoch)
    assert (part["error_code"], part["leader_epoch"], part["end_offset"]) == (0, epoch, 2)
    assert end_of(epoch, current=epoch + 5)["error_code"] == 75


@pytest.mark.parametrize("version", range(5))
def test_every_version_of_offset_for_leader_epoch(wire, topic, version):
    answer = wire.call("offset_for_leader_epoch", version, {"topics": [{
        "topic": topic, "partitions": [{"partition": 0, "leader_epoch": 0}, {"partition": 5, "leader_epoch": 0}]}]})
    assert [part["error_code"] for part in answer["topics"][0]["partitions"]] == [0, 3]


# ---- offsets ----

@pytest.mark.parametrize("version", range(12))
def test_every_version_of_list_offsets(wire, topic, version):
    produce(wire, topic, batch([b"a", b"b"]))
    answer = wire.call("list_offsets", version, {"replica_id": -1, "topics": [{"name": topic, "partitions": [
        {"partition_index": 0, "timestamp": -1}, {"partition_index": 9, "timestamp": -1}]}]})
    good, bad = answer["topics"][0]["partitions"]
    assert (good["error_code"], bad["error_code"]) == (0, 3)
    if version == 0:
        assert good["old_style_offsets"] == [2]
    else:
        assert (good["offset"], good["timestamp"]) == (2, -1)


@pytest.mark.parametrize("version", range(1, 12))
def test_a_partition_named_twice_has_no_offset(wire, unique, version):
    name = unique()
    create(wire, name, 3)
    answer = wire.call("list_offsets", version, {"replica_id": -1, "topics": [
        {"name": name, "partitions": [{"partition_index": index, "timestamp": -1} for index in (0, 2)]},
        {"name": name, "partitions": [{"partition_index": index, "timestamp": -2} for index in (1, 2)]}]})
    assert [[(part["partition_index"], part["error_code"]) for part in row["partitions"]] for row in answer["topics"]] == [
        [(0, 0), (2, 42)], [(1, 0), (2, 42)]]


def test_offsets_by_time(wire, topic):
    produce(wire, topic, batch([b"0", b"1", b"2"], timestamp=1000, timestamps=[1000, 3000, 2000]))
    produce(wire, topic, batch([b"3", b"4"], timestamp=4000, timestamps=[4000, 5000], attributes=1,
                               compress=gzip.compress))
    for target, offset, timestamp in [(0, 0, 1000), (1000, 0, 1000), (1001, 1, 3000), (3000, 1, 3000), (3001, 3, 4000),
                                      (4500, 4, 5000), (5000, 4, 5000), (5001, -1, -1)]:
        part = offset_at(wire, topic, target)
        assert (part["error_code"], part["offset"], part["timestamp"]) == (0, offset, timestamp), target


def test_special_offsets(wire, topic):
    assert offset_at(wire, topic, -3, version=7)["offset"] == -1
    produce(wire, topic, batch([b"0", b"1"], timestamp=7000, timestamps=[7000, 6000]))
    assert offset_at(wire, topic, -2)["offset"] == 0
    assert offset_at(wire, topic, -1, isolation=1)["offset"] == 2
    part = offset_at(wire, topic, -3, version=7)
    assert (part["offset"], part["timestamp"]) == (0, 7000)
    assert offset_at(wire, topic, -4, version=8)["offset"] == 0
    assert offset_at(wire, topic, -5, version=9)["offset"] == -1
    assert offset_at(wire, topic, -6, version=11)["offset"] == -1
    for timestamp, version in [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11)]:
        assert offset_at(wire, topic, timestamp, version=version)["error_code"] == 35


# ---- sessions ----

def session_fetch(wire, session, epoch, parts=(), forgotten=(), wait=0):
    topics = [{"topic": topic, "partitions": [{"partition": partition, "fetch_offset": offset,
                                               "partition_max_bytes": 1 << 20}]} for topic, partition, offset in parts]
    return wire.call("fetch", 12, {
        "max_wait_ms": wait, "min_bytes": 1, "max_bytes": 1 << 20, "session_id": session, "session_epoch": epoch,
        "topics": topics, "forgotten_topics_data": [{"topic": topic, "partitions": [partition]}
                                                    for topic, partition in forgotten]})


def told(answer):
    return {(topic["topic"], part["partition_index"]): part for topic in answer["responses"]
            for part in topic["partitions"]}


def test_a_session_tells_only_news(wire, unique):
    name = unique()
    create(wire, name, 3)
    answer = session_fetch(wire, 0, 0, [(name, 0, 0), (name, 1, 0), (name, 2, 0)])
    session = answer["session_id"]
    assert session > 0 and len(told(answer)) == 3
    assert told(session_fetch(wire, session, 1)) == {}
    produce(wire, name, batch([b"news"]), partition=1)
    answer = told(session_fetch(wire, session, 2))
    assert list(answer) == [(name, 1)] and answer[name, 1]["high_watermark"] == 1
    # Not moved on: the same records come again.
    assert list(told(session_fetch(wire, session, 3))) == [(name, 1)]
    assert told(session_fetch(wire, session, 4, [(name, 1, 1)])) == {}
    produce(wire, name, batch([b"more"]), partition=0)
    assert told(session_fetch(wire, session, 5, forgotten=[(name, 0)])) == {}
    assert list(told(session_fetch(wire, session, 6, [(name, 0, 0)]))) == [(name, 0)]


def test_a_session_waits(server, wire, topic):
    session = session_fetch(wire, 0, 0, [(topic, 0, 0)])["session_id"]
    started = time.monotonic()
    assert told(session_fetch(wire, session, 1, wait=400)) == {}
    assert time.monotonic() - started >= 0.35

    def later():
        with kafka_wire.Connection(server.kafka) as other:
            produce(other, topic, batch([b"wake"]))
    thread = threading.Timer(0.2, later)
    thread.start()
    started = time.monotonic()
    assert list(told(session_fetch(wire, session, 2, wait=20000))) == [(topic, 0)]
    assert time.monotonic() - started < 10
    thread.join()


def test_session_errors(wire, topic):
    session = session_fetch(wire, 0, 0, [(topic, 0, 0)])["session_id"]
    assert session_fetch(wire, session, 5)["error_code"] == 71
    assert session_fetch(wire, session + 1 if session < 2**31 - 1 else 1, 1)["error_code"] == 70
    assert session_fetch(wire, 0, 3)["error_code"] == 70
    answer = wire.call("fetch", 13, {"session_id": session, "session_epoch": 1})
    assert answer["error_code"] == 106
    # Closing: a full answer without a session, and the id is gone.
    answer = session_fetch(wire, session, -1, [(topic, 0, 0)])
    assert answer["session_id"] == 0 and len(told(answer)) == 1
    assert session_fetch(wire, session, 1)["error_code"] == 70


def test_a_session_that_becomes_empty_is_dropped(wire, topic):
    session = session_fetch(wire, 0, 0, [(topic, 0, 0)])["session_id"]
    answer = session_fetch(wire, session, 1, forgotten=[(topic, 0)])
    assert answer["session_id"] == 0 and answer["responses"] == []
    assert session_fetch(wire, session, 2)["error_code"] == 70


def test_errors_repeat_in_a_session(wire, topic, unique):
    missing = unique("none")
    answer = session_fetch(wire, 0, 0, [(topic, 0, 0), (missing, 0, 0)])
    session = answer["session_id"]
    for epoch in (1, 2):
        answer = told(session_fetch(wire, session, epoch))
        assert {key: part["error_code"] for key, part in answer.items()} == {(missing, 0): 3}
    create(wire, missing)
    answer = told(session_fetch(wire, session, 3))
    assert answer[missing, 0]["error_code"] == 0


def test_a_recreated_topic_in_a_session_by_id(wire, unique):
    name = unique()
    first = create(wire, name)
    parts = {"topics": [{"topic_id": first, "partitions": [{"partition": 0, "fetch_offset": 0,
                                                            "partition_max_bytes": 1000}]}]}
    answer = wire.call("fetch", 13, {"session_id": 0, "session_epoch": 0, **parts})
    session = answer["session_id"]
    wire.call("delete_topics", 4, {"topic_names": [name], "timeout_ms": 1000})
    answer = wire.call("fetch", 13, {"session_id": session, "session_epoch": 1})
    assert answer["responses"][0]["partitions"][0]["error_code"] == 100
    assert create(wire, name) != first
    answer = wire.call("fetch", 13, {"session_id": session, "session_epoch": 2})
    assert answer["responses"][0]["partitions"][0]["error_code"] == 103
    answer = wire.call("fetch", 13, {"session_id": 0, "session_epoch": -1, **parts})
    assert answer["responses"][0]["partitions"][0]["error_code"] == 100


def test_served_partitions_go_to_the_end(wire, unique):
    name = unique()
    create(wire, name, 3)
    for partition in range(3):
        produce(wire, name, batch([b"x" * 2000]), partition=partition)
    parts = [{"partition": p, "fetch_offset": 0, "partition_max_bytes": 1 << 20} for p in range(3)]
    answer = wire.call("fetch", 12, {"min_bytes": 1, "max_bytes": 100, "session_id": 0, "session_epoch": 0,
                                     "topics": [{"topic": name, "partitions": parts}]})
    session, served = answer["session_id"], []
    for epoch in (1, 2, 3):
        answer = told(wire.call("fetch", 12, {"min_bytes": 1, "max_bytes": 100, "session_id": session,
                                              "session_epoch": epoch}))
        served += [key[1] for key, part in answer.items() if part["records"]]
    assert sorted(served) == [0, 1, 2]


def test_many_sessions(start_server, unique):
    """Beyond the slots consumers are served all the same, without a session."""
    server, name, sessions = start_server("--shards", "1"), unique(), []
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, name)
        for _ in range(1100):
            answer = session_fetch(wire, 0, 0, [(name, 0, 0)])
            assert told(answer)[name, 0]["error_code"] == 0
            sessions.append(answer["session_id"])
    assert len(set(sessions)) == 1001 and sessions.count(0) == 100


def test_deleting_a_topic_ends_the_wait(server, wire, unique):
    name = unique()
    create(wire, name)
    wire.send("fetch", 11, fetch_request(name, wait=20000))
    with kafka_wire.Connection(server.kafka) as other:
        assert other.call("delete_topics", 4, {"topic_names": [name]})["responses"][0]["error_code"] == 0
    started = time.monotonic()
    part = wire.receive("fetch", 11)["responses"][0]["partitions"][0]
    assert time.monotonic() - started < 5
    assert part["error_code"] in (3, 6)
