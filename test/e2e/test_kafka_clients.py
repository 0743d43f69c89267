"""Unmodified Kafka clients for Python and C: kafka-python, aiokafka, confluent-kafka, Debian's librdkafka through kcat."""
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest

kafka = pytest.importorskip("kafka")
confluent_kafka = pytest.importorskip("confluent_kafka")
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


def rows(count=1000):
    return [(f"k{i % 17}".encode(), json.dumps({"i": i, "text": "x" * (i % 90)}).encode()) for i in range(count)]


def python_read(server, topic, count, **more):
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=server.kafka, auto_offset_reset="earliest",
                                   enable_auto_commit=False, **more)
    got, deadline = [], time.monotonic() + 40
    try:
        while len(got) < count and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                got += [(record.key, record.value) for record in records]
    finally:
        consumer.close()
    return got


def confluent_read(server, topic, count, **more):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.kafka, "group.id": f"g-{topic}-{time.time()}",
                                         "auto.offset.reset": "earliest", "check.crcs": True, **more})
    consumer.subscribe([topic])
    got, deadline = [], time.monotonic() + 40
    try:
        while len(got) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None, message.error()
                got.append((message.key(), message.value()))
    finally:
        consumer.close()
    return got


def confluent_write(server, topic, records, **more):
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, **more})
    failures = []
    for key, value in records:
        producer.produce(topic, value, key, on_delivery=lambda error, _: error and failures.append(error))
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failures


@pytest.mark.parametrize("codec", CODECS)
def test_kafka_python_round_trip(server, unique, codec):
    topic, records = unique(), rows()
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka, compression_type=codec, acks="all", linger_ms=5)
    for key, value in records:
        producer.send(topic, value, key)
    producer.flush(30)
    producer.close()
    assert sorted(python_read(server, topic, len(records))) == sorted(records)


@pytest.mark.parametrize("codec", CODECS)
def test_confluent_round_trip(server, unique, codec):
    topic, records = unique(), rows()
    confluent_write(server, topic, records, **{"compression.type": codec or "none", "enable.idempotence": True})
    assert sorted(confluent_read(server, topic, len(records))) == sorted(records)


def test_one_writes_the_other_reads(server, unique):
    topic, records = unique(), rows(300)
    confluent_write(server, topic, records, **{"compression.type": "lz4"})
    assert sorted(python_read(server, topic, 300)) == sorted(records)


def test_aiokafka(server, unique):
    program = pathlib.Path(__file__).resolve().parents[1] / "lib/aiokafka_round_trip.py"
    done = subprocess.run([sys.executable, program, server.kafka, unique(), unique("g")], capture_output=True, text=True,
                          timeout=100)
    assert done.returncode == 0 and "round trip holds" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_acks(server, unique, acks):
    topic, records = unique(), rows(200)
    confluent_write(server, topic, records, acks=acks)
    assert len(confluent_read(server, topic, 200)) == 200


def test_kafka_python_admin(server, unique):
    from kafka.admin import KafkaAdminClient, NewTopic
    admin = KafkaAdminClient(bootstrap_servers=server.kafka)
    name = unique()
    admin.create_topics([NewTopic(name=name, num_partitions=4, replication_factor=1)])
    assert name in admin.list_topics()
    admin.delete_topics([name])
    assert name not in admin.list_topics()
    admin.close()


def test_confluent_admin(server, unique):
    from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
    admin = AdminClient({"bootstrap.servers": server.kafka})
    name = unique()
    for future in admin.create_topics([NewTopic(name, 3, 1, config={"retention.ms": "99"})]).values():
        future.result(20)
    assert len(admin.list_topics(timeout=20).topics[name].partitions) == 3
    resource = ConfigResource(ResourceType.TOPIC, name)
    configs = admin.describe_configs([resource])[resource].result(20)
    assert configs["retention.ms"].value == "99"
    assert admin.describe_cluster().result(20).cluster_id
    for future in admin.delete_topics([name]).values():
        future.result(20)
    assert name not in admin.list_topics(timeout=20).topics


def test_committed_offsets_are_where_consumption_goes_on(server, unique):
    topic, group = unique(), unique("g")
    confluent_write(server, topic, rows(100))
    first = kafka.KafkaConsumer(topic, bootstrap_servers=server.kafka, group_id=group, auto_offset_reset="earliest",
                                enable_auto_commit=False, max_poll_records=40)
    got, deadline = 0, time.monotonic() + 30
    while got < 40 and time.monotonic() < deadline:
        got += sum(map(len, first.poll(timeout_ms=500).values()))
    first.commit()
    first.close()
    rest = python_read(server, topic, 100 - got, group_id=group)
    assert len(rest) == 100 - got


def test_a_group_shares_and_survives_a_death(server, unique):
    topic, group = unique(), unique("g")
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": server.kafka})
    admin.create_topics([NewTopic(topic, 6, 1)])[topic].result(20)
    seen, stop, lock = [[], [], []], [threading.Event() for _ in range(3)], threading.Lock()

    def work(number):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": server.kafka, "group.id": group, "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000, "heartbeat.interval.ms": 500})
        consumer.subscribe([topic])
        while not stop[number].is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                with lock:
                    seen[number].append((message.partition(), message.offset()))
        consumer.close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def wait_for(total):
        deadline = time.monotonic() + 40
        while len({item for part in seen for item in part}) < total:
            assert time.monotonic() < deadline, [len(part) for part in seen]
            confluent_kafka.Producer({"bootstrap.servers": server.kafka}).flush(1)
    try:
        confluent_write(server, topic, [(str(i).encode(), b"x") for i in range(300)])
        wait_for(300)
        stop[0].set()
        threads[0].join(30)
        confluent_write(server, topic, [(str(i).encode(), b"y") for i in range(300)])
        wait_for(600)
    finally:
        for event in stop:
            event.set()
        for thread in threads:
            thread.join(30)


def test_offsets_for_times(server, unique):
    topic = unique()
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka, compression_type="gzip")
    for i in range(10):
        producer.send(topic, b"%d" % i, timestamp_ms=1000 * (i + 1), partition=0)
    producer.flush(20)
    producer.close()
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.kafka)
    partition = kafka.TopicPartition(topic, 0)
    found = consumer.offsets_for_times({partition: 4500})[partition]
    assert (found.offset, found.timestamp) == (4, 5000)
    assert consumer.offsets_for_times({partition: 99999})[partition] is None
    assert consumer.beginning_offsets([partition])[partition] == 0
    assert consumer.end_offsets([partition])[partition] == 10
    consumer.close()


def test_message_too_large(server, unique):
    topic = unique()
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka, max_request_size=10_000_000, retries=2)
    with pytest.raises(kafka.errors.MessageSizeTooLargeError):
        producer.send(topic, b"x" * 2_000_000).get(20)
    producer.close()
    producer = kafka.KafkaProducer(bootstrap_servers=server.kafka)
    assert producer.send(topic, b"small").get(20).offset == 0
    producer.close()


def test_transactions_fail_clearly_and_at_once(server, unique):
    producer = confluent_kafka.Producer({"bootstrap.servers": server.kafka, "transactional.id": unique("t")})
    started = time.monotonic()
    with pytest.raises(confluent_kafka.KafkaException):
        producer.init_transactions(20)
    assert time.monotonic() - started < 15


@pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed")
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_kcat(server, unique, codec):
    topic = unique()
    lines = "".join(f"key{i}:value {i}\n" for i in range(500))
    subprocess.run(["kcat", "-b", server.kafka, "-P", "-t", topic, "-K:", "-z", codec], input=lines, text=True,
                   check=True, timeout=60)
    done = subprocess.run(["kcat", "-b", server.kafka, "-C", "-t", topic, "-K:", "-o", "beginning", "-e", "-q", "-X",
                           "check.crcs=true"], capture_output=True, text=True, check=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == sorted(lines.splitlines())
    listing = json.loads(subprocess.run(["kcat", "-b", server.kafka, "-L", "-J", "-t", topic], capture_output=True,
                                        text=True, check=True, timeout=60).stdout)
    assert listing["topics"][0]["topic"] == topic
    assert f"{listing['brokers'][0]['name']}" == server.kafka


@pytest.mark.skipif(not shutil.which("kcat"), reason="kcat is not installed")
def test_kcat_group_and_time_query(server, unique):
    topic, group = unique(), unique("g")
    subprocess.run(["kcat", "-b", server.kafka, "-P", "-t", topic], input="a\nb\nc\n", text=True, check=True, timeout=60)
    done = subprocess.run(["kcat", "-b", server.kafka, "-G", group, "-e", "-q", "-X", "auto.offset.reset=earliest",
                           topic], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.split()) == ["a", "b", "c"], done.stderr
    done = subprocess.run(["kcat", "-b", server.kafka, "-Q", "-t", f"{topic}:0:1"], capture_output=True, text=True,
                          check=True, timeout=60)
    assert "offset 0" in done.stdout


def test_data_outlives_kill(start_server, unique):
    server = start_server()
    topic, records = unique(), rows(2000)
    confluent_write(server, topic, records, **{"enable.idempotence": True})
    server.kill()
    server.start()
    assert sorted(confluent_read(server, topic, 2000)) == sorted(records)
