"""Produce at the level of frames: validation with its exact codes, idempotence, old formats."""
import gzip
import struct
import time

import pytest
from kafka_fixtures import create, fetch, kafka_wire, offset_at, produce

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


def test_offsets_are_dense(wire, topic):
    at = 0
    for size in (1, 3, 1, 10):
        answer = produce(wire, topic, batch([b"v"] * size))
        assert (answer["error_code"], answer["base_offset"], answer["log_append_time_ms"]) == (0, at, -1)
        assert answer["log_start_offset"] == 0
        at += size
    assert offset_at(wire, topic, -1)["offset"] == at


@pytest.mark.parametrize("version", range(14))
def test_every_version_appends(wire, unique, version):
    name = unique()
    topic_id = create(wire, name)
    records = kafka_wire.message_set([b"one", b"two"], 1 if version == 2 else 0) if version < 3 else batch([b"one", b"two"])
    wire.send("produce", version, {"acks": 1, "timeout_ms": 1000, "topic_data": [{
        **({"topic_id": topic_id} if version >= 13 else {"name": name}),
        "partition_data": [{"index": 0, "records": records}]}]})
    answer = wire.receive("produce", version)["responses"][0]["partition_responses"][0]
    assert (answer["error_code"], answer["base_offset"]) == (0, 0)
    assert kafka_wire.values(fetch(wire, name)["records"]) == [(0, None, b"one"), (1, None, b"two")]


WRONG = {
    "two batches": (lambda: batch([b"a"]) + batch([b"b"]), 87),
    "no batch": (lambda: b"", 87),
    "null": (lambda: None, 87),
    "checksum": (lambda: batch([b"a"], crc=1), 2),
    "base offset": (lambda: batch([b"a"], base_offset=5), 87),
    "magic 1": (lambda: batch([b"a"], magic=1), 87),
    "magic 3": (lambda: batch([b"a"], magic=3), 87),
    "count too high": (lambda: batch([b"a"], count=2), 87),
    "count zero": (lambda: batch([], count=0, last_delta=-1), 87),
    "count negative": (lambda: batch([b"a"], count=-1), 87),
    "control": (lambda: batch([b"a"], attributes=0x20), 87),
    "append time bit": (lambda: batch([b"a"], attributes=0x08), 32),
    "transactional": (lambda: batch([b"a"], attributes=0x10, producer=(1, 0, 0)), 53),
    "producer without sequence": (lambda: batch([b"a"], producer=(1, 0, -1)), 87),
    "short": (lambda: batch([b"a"])[:40], 2),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_batches_have_their_codes(wire, topic, case):
    make, code = WRONG[case]
    answer = produce(wire, topic, make())
    assert answer["error_code"] == code, answer
    assert answer["base_offset"] == -1
    assert produce(wire, topic, batch([b"good"]))["base_offset"] == 0


def test_partial_batch_behind_is_dropped(wire, topic):
    assert produce(wire, topic, batch([b"a"]) + batch([b"b"])[:30])["error_code"] == 0
    assert [value for _, _, value in kafka_wire.values(fetch(wire, topic)["records"])] == [b"a"]


@pytest.mark.parametrize("acks", [2, -2, 100])
def test_acks_out_of_range(wire, topic, acks):
    assert produce(wire, topic, batch([b"a"]), acks=acks)["error_code"] == 21


def test_unknown_topic_partition_and_id(wire, topic, unique):
    assert produce(wire, unique("none"), batch([b"a"]))["error_code"] == 3
    for partition in (1, -1, 2**31 - 1):
        assert produce(wire, topic, batch([b"a"]), partition=partition)["error_code"] == 3
    wire.send("produce", 13, {"acks": 1, "topic_data": [{
        "topic_id": b"\1" * 16, "partition_data": [{"index": 0, "records": batch([b"a"])}]}]})
    assert wire.receive("produce", 13)["responses"][0]["partition_responses"][0]["error_code"] == 100


def test_one_bad_partition_does_not_spoil_the_others(wire, unique):
    name = unique()
    create(wire, name, 3)
    wire.send("produce", 9, {"acks": -1, "topic_data": [{"name": name, "partition_data": [
        {"index": 0, "records": batch([b"a"])}, {"index": 1, "records": batch([b"a"], crc=7)},
        {"index": 2, "records": batch([b"a"])}]}]})
    answer = wire.receive("produce", 9)["responses"][0]["partition_responses"]
    assert [(part["index"], part["error_code"]) for part in answer] == [(0, 0), (1, 2), (2, 0)]


def test_max_message_bytes(wire, unique):
    name = unique()
    create(wire, name, max_message_bytes=1000)
    assert produce(wire, name, batch([b"x" * 1000]))["error_code"] == 10
    fits = batch([b"x" * (1000 - len(batch([b""])) - 2)])
    assert len(fits) <= 1000
    assert produce(wire, name, fits)["error_code"] == 0


def test_keyless_record_on_a_compacted_topic(wire, unique):
    name = unique()
    create(wire, name, cleanup_policy="compact")
    answer = produce(wire, name, batch([b"a", b"b"], keys=[b"k", None]))
    assert answer["error_code"] == 87
    assert [error["batch_index"] for error in answer["record_errors"]] == [1]
    assert produce(wire, name, batch([b"a"], keys=[b"k"]))["base_offset"] == 0
    assert produce(wire, name, batch([None], keys=[b"k"]))["base_offset"] == 1


def test_far_future_timestamp(wire, topic):
    later = int(time.time() * 1000) + 3 * 3600 * 1000
    assert produce(wire, topic, batch([b"a"], timestamp=later))["error_code"] == 32


def test_log_append_time(wire, unique):
    name = unique()
    create(wire, name, message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    answer = produce(wire, name, batch([b"a"], timestamp=5))
    assert answer["error_code"] == 0
    assert before - 5 <= answer["log_append_time_ms"] <= int(time.time() * 1000) + 5
    data = fetch(wire, name)["records"]
    assert struct.unpack_from(">h", data, 21)[0] & 8
    assert kafka_wire.crc32c(data[21:]) == struct.unpack_from(">I", data, 17)[0]


def test_zstd_needs_version_7(wire, topic):
    zstandard = pytest.importorskip("zstandard")
    packed = batch([b"a"], attributes=4, compress=zstandard.ZstdCompressor().compress)
    assert produce(wire, topic, packed, version=6)["error_code"] == 76
    assert produce(wire, topic, packed, version=7)["error_code"] == 0


def test_zstd_for_older_consumers(wire, topic, unique):
    """As Kafka: below version 10 a topic set to zstd is refused; single batches in zstd only where the old formats would
    have to carry them, since clients that know version 4 only may well know zstd."""
    zstandard = pytest.importorskip("zstandard")
    packed = batch([b"a"], attributes=4, compress=zstandard.ZstdCompressor().compress)
    chosen = unique()
    create(wire, chosen, compression_type="zstd")
    for name in (topic, chosen):
        assert produce(wire, name, packed)["error_code"] == 0
    for version in range(12):
        part = fetch(wire, topic, version=version)
        assert (part["error_code"], len(part["records"])) == ((76, 0) if version < 4 else (0, len(packed))), version
        assert fetch(wire, chosen, version=version)["error_code"] == (76 if version < 10 else 0)


def test_a_compressed_batch_is_kept_byte_for_byte(wire, topic):
    packed = batch([b"a" * 500, b"b"], attributes=1, compress=gzip.compress)
    assert produce(wire, topic, packed)["error_code"] == 0
    data = fetch(wire, topic)["records"]
    assert data[17:] == packed[17:] and data[:12] == packed[:12]


def test_garbage_that_claims_to_be_compressed_is_refused_where_records_are_walked(wire, unique):
    name = unique()
    create(wire, name, cleanup_policy="compact")
    for codec in (1, 2, 3, 4):
        answer = produce(wire, name, batch([b"a"], attributes=codec, payload=b"\xde\xad" * 50))
        assert answer["error_code"] in (2, 87), codec


def new_producer(wire):
    answer = wire.call("init_producer_id", 4, {"transactional_id": None, "transaction_timeout_ms": 60000})
    assert (answer["error_code"], answer["producer_epoch"]) == (0, 0)
    return answer["producer_id"]


def test_producer_ids_are_fresh(wire, start_server):
    ids = [new_producer(wire) for _ in range(50)]
    assert len(set(ids)) == 50


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_producer_id_comes_with_its_epoch(wire, version):
    for more in ({"producer_id": 5}, {"producer_epoch": 5}):
        answer = wire.call("init_producer_id", version, {"transactional_id": None, **more})
        assert (answer["error_code"], answer["producer_id"], answer["producer_epoch"]) == (42, -1, -1)
    assert wire.call("init_producer_id", version, {"transactional_id": None})["error_code"] == 0


def test_transactional_ids_are_refused_at_once(wire):
    answer = wire.call("init_producer_id", 4, {"transactional_id": "t", "transaction_timeout_ms": 60000})
    assert answer["error_code"] == 53
    assert wire.call("init_producer_id", 4, {"transactional_id": ""})["error_code"] == 42


def test_duplicates_succeed_with_the_first_offset(wire, topic):
    pid = new_producer(wire)
    sequences = [batch([b"%d" % i], producer=(pid, 0, i)) for i in range(6)]
    assert [produce(wire, topic, one)["base_offset"] for one in sequences] == list(range(6))
    for i in (5, 4, 3, 2, 1):
        answer = produce(wire, topic, sequences[i])
        assert (answer["error_code"], answer["base_offset"]) == (0, i)
    assert produce(wire, topic, sequences[0])["error_code"] == 45
    assert offset_at(wire, topic, -1)["offset"] == 6


def test_sequence_gaps_and_epochs(wire, topic):
    pid = new_producer(wire)
    assert produce(wire, topic, batch([b"a"], producer=(pid, 0, 0)))["error_code"] == 0
    assert produce(wire, topic, batch([b"a"], producer=(pid, 0, 2)))["error_code"] == 45
    assert produce(wire, topic, batch([b"a"], producer=(pid, 1, 1)))["error_code"] == 45
    assert produce(wire, topic, batch([b"a"], producer=(pid, 1, 0)))["error_code"] == 0
    assert produce(wire, topic, batch([b"a"], producer=(pid, 0, 1)))["error_code"] == 47


def test_unknown_producer_may_start_anywhere(wire, topic):
    pid = new_producer(wire)
    assert produce(wire, topic, batch([b"a"], producer=(pid, 3, 1234)))["error_code"] == 0
    assert produce(wire, topic, batch([b"a"], producer=(pid, 3, 1235)))["error_code"] == 0


def test_sequences_wrap(wire, topic):
    pid = new_producer(wire)
    assert produce(wire, topic, batch([b"a", b"b"], producer=(pid, 0, 2**31 - 2)))["error_code"] == 0
    assert produce(wire, topic, batch([b"c"], producer=(pid, 0, 0)))["error_code"] == 0


def test_deduplication_survives_kill(start_server, unique):
    server = start_server()
    name = unique()
    with kafka_wire.Connection(server.kafka) as wire:
        create(wire, name)
        pid = new_producer(wire)
        one = batch([b"once"], producer=(pid, 0, 0))
        assert produce(wire, name, one)["base_offset"] == 0
    server.kill()
    server.start()
    with kafka_wire.Connection(server.kafka) as wire:
        deadline = time.monotonic() + 10
        answer = produce(wire, name, one)
        while answer["error_code"] == 6 and time.monotonic() < deadline:
            time.sleep(0.02)
            answer = produce(wire, name, one)
        assert (answer["error_code"], answer["base_offset"]) == (0, 0)
        assert produce(wire, name, batch([b"next"], producer=(pid, 0, 1)))["base_offset"] == 1
        assert new_producer(wire) > pid


def test_many_partitions_of_a_megabyte(wire, unique):
    many = unique()
    create(wire, many, 20, max_message_bytes=2_000_000)
    one = batch([b"y" * 1_000_000])
    wire.socket.settimeout(60)
    wire.send("produce", 9, {"acks": -1, "topic_data": [{"name": many, "partition_data": [
        {"index": i, "records": one} for i in range(20)]}]})
    answer = wire.receive("produce", 9)["responses"][0]["partition_responses"]
    assert [part["error_code"] for part in answer] == [0] * 20


def test_repeated_partition_in_one_request(wire, topic):
    wire.send("produce", 9, {"acks": -1, "topic_data": [{"name": topic, "partition_data": [
        {"index": 0, "records": batch([b"a"])}, {"index": 0, "records": batch([b"b"])}]}]})
    answer = wire.receive("produce", 9)["responses"][0]["partition_responses"]
    assert [part["base_offset"] for part in answer] == [0, 1]


def test_empty_request(wire):
    wire.send("produce", 9, {"acks": -1, "topic_data": []})
    assert wire.receive("produce", 9)["responses"] == []


def test_produce_to_a_deleted_topic(wire, topic):
    assert produce(wire, topic, batch([b"a"]))["error_code"] == 0
    wire.call("delete_topics", 4, {"topic_names": [topic], "timeout_ms": 1000})
    assert produce(wire, topic, batch([b"a"]))["error_code"] == 3
