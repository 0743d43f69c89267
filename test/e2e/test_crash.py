"""kill -9 under load through three doors: what was acknowledged is there, once and in order.

WEIR_CRASH_CYCLES sets how often the server is killed (default 8). The Kafka producer is idempotent and lives through
all crashes, so its retries cross them; the other clients are made anew each time and do not retry.
"""
import hashlib
import logging
import os
import random
import threading
import time

import azure.core.exceptions
import azure.eventhub
import azure.storage.blob
import confluent_kafka
import pytest

CYCLES = int(os.environ.get("WEIR_CRASH_CYCLES", "8"))
PARTITIONS = 3


class KafkaLoad(threading.Thread):
    """Numbers per partition, in order; records what was acknowledged."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": server.kafka, "enable.idempotence": True, "linger.ms": 1,
            "message.timeout.ms": 120000, "reconnect.backoff.max.ms": 200, "log_level": 0})
        self.ending = threading.Event()
        self.sent = [0] * PARTITIONS
        self.acknowledged = [set() for _ in range(PARTITIONS)]
        self.failures = []

    def delivered(self, error, message):
        if error:
            self.failures.append(str(error))
        else:
            self.acknowledged[message.partition()].add(int(message.value()))

    def run(self):
        while not self.ending.is_set():
            for partition in range(PARTITIONS):
                if len(self.producer) < 2000:
                    self.producer.produce("numbers", str(self.sent[partition]), partition=partition,
                                          on_delivery=self.delivered)
                    self.sent[partition] += 1
            self.producer.poll(0.0005)
        self.producer.flush(60)


class EventsLoad(threading.Thread):
    """Batches through the Event Hubs door until the connection is lost."""

    def __init__(self, server, first):
        super().__init__(daemon=True)
        self.client = azure.eventhub.EventHubProducerClient.from_connection_string(
            server.eventhub_connection, eventhub_name="events", retry_total=0, socket_timeout=5)
        self.next = first
        self.acknowledged = []

    def run(self):
        try:
            with self.client:
                while True:
                    batch = self.client.create_batch(partition_id="0")
                    numbers = list(range(self.next, self.next + 5))
                    self.next += 5
                    for number in numbers:
                        batch.add(azure.eventhub.EventData(str(number)))
                    self.client.send_batch(batch, timeout=5)
                    self.acknowledged += numbers
        except Exception:  # the crash; what came before it counts
            pass


class BlobLoad(threading.Thread):
    """Blobs of some sizes until the connection is lost."""

    def __init__(self, server, cycle):
        super().__init__(daemon=True)
        self.service = azure.storage.blob.BlobServiceClient.from_connection_string(
            server.blob_connection, retry_total=0, connection_timeout=5, read_timeout=5)
        self.cycle = cycle
        self.acknowledged = []

    def run(self):
        try:
            for number in range(10000):
                name = f"{self.cycle}/{number}"
                self.service.get_blob_client("crash", name).upload_blob(content(name))
                self.acknowledged.append(name)
        except Exception:  # the crash; what came before it counts
            pass


def content(name):
    """What a blob of that name holds: 1 byte to 200 KB."""
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * 6400)[:1 + int.from_bytes(seed[:3], "big") % 200000]


def read_all(server, topic, partition):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.kafka, "group.id": "check", "log_level": 0,
                                         "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0)])
    numbers, offsets = [], []
    while True:
        message = consumer.poll(30)
        assert message is not None, f"{topic}-{partition}: nothing after {len(numbers)} records"
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            break
        numbers.append(int(message.value()))
        offsets.append(message.offset())
    consumer.close()
    assert offsets == list(range(len(offsets)))
    return numbers


def under_load(kafka, *loads):
    """Returns when each door has acknowledged something since the server came up."""
    before, deadline = sum(map(len, kafka.acknowledged)), time.monotonic() + 30
    while sum(map(len, kafka.acknowledged)) == before or not all(load.acknowledged for load in loads):
        assert time.monotonic() < deadline, "a door acknowledges nothing"
        threading.Event().wait(0.01)


def check_blobs(server, names):
    service = azure.storage.blob.BlobServiceClient.from_connection_string(server.blob_connection)
    for name in names:
        assert service.get_blob_client("crash", name).download_blob().readall() == content(name), name
    for blob in service.get_container_client("crash").list_blobs():
        if blob.name not in names:
            assert service.get_blob_client("crash", blob.name).download_blob().readall() == content(blob.name)


@pytest.mark.timeout(60 + 10 * CYCLES)
def test_kill_under_load(start_server, weir):
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    chance = random.Random(1)
    server = start_server()
    for topic, partitions in (("numbers", PARTITIONS), ("events", 1)):
        assert weir("topic", "create", topic, "-p", partitions, "--admin", server.admin)[0] == 0
    azure.storage.blob.BlobServiceClient.from_connection_string(server.blob_connection).create_container("crash")
    server.fix_ports()
    kafka, next_event, events, blobs = KafkaLoad(server), 0, [], []
    kafka.start()
    for cycle in range(CYCLES):
        loads = [EventsLoad(server, next_event), BlobLoad(server, cycle)]
        for load in loads:
            load.start()
        under_load(kafka, *loads)
        threading.Event().wait(chance.uniform(0, 0.6))
        server.kill()
        for load in loads:
            load.join(30)
            assert not load.is_alive()
        next_event, events, blobs = loads[0].next, events + loads[0].acknowledged, blobs + loads[1].acknowledged
        server.start()
    kafka.ending.set()
    kafka.join(90)
    assert not kafka.failures
    for partition in range(PARTITIONS):
        numbers = read_all(server, "numbers", partition)
        assert numbers == list(range(kafka.sent[partition])), "lost, repeated or out of order"
        assert kafka.acknowledged[partition] == set(numbers)
    numbers = read_all(server, "events", 0)
    assert numbers == sorted(set(numbers)), "repeated or out of order"
    assert set(events) <= set(numbers), "an accepted event is lost"
    check_blobs(server, set(blobs))
    print(f"crash: {CYCLES} kills, {sum(kafka.sent)} records, {len(events)} events, {len(blobs)} blobs, none lost")
