"""The doors of Weir, each through its official client library."""
import csv
import io
import json
import os
import pathlib
import subprocess
import threading
import time
import zlib

import azure.core.exceptions
import azure.eventhub
import azure.storage.blob
import confluent_kafka
import confluent_kafka.admin
import kafka

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
WEIR = os.environ.get("WEIR", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/weir"))


class Mismatch(Exception):
    """A result that differs from what plain Python computed."""


class Checksum:
    """Count and order-free sum over rows."""

    def __init__(self):
        self.count = self.sum = 0

    def add(self, *fields):
        self.count += 1
        self.sum += zlib.crc32("|".join(map(str, fields)).encode())

    def __eq__(self, other):
        return (self.count, self.sum) == (other.count, other.sum)

    def __str__(self):
        return f"{self.count} rows, checksum {self.sum:x}"

    def expect(self, where, expected):
        if self != expected:
            raise Mismatch(f"{where}: {self}, expected {expected}")


class Doors:
    """Addresses of a running server and the clients that speak to it."""

    def __init__(self, addresses):
        self.kafka, self.amqp = addresses["kafka"], addresses["amqp"]
        self.blob, self.admin = addresses["blob"], addresses["admin"]
        self.eventhub = (f"Endpoint=sb://{self.amqp};SharedAccessKeyName=RootManageSharedAccessKey;"
                         "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;")
        self.blobs = azure.storage.blob.BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint=http://{self.blob}/{ACCOUNT};")

    def weir(self, *arguments):
        """Runs a command of the CLI against the server."""
        subprocess.run([WEIR, *arguments, "--admin", self.admin], check=True, stdout=subprocess.DEVNULL)

    def create_topic(self, name, partitions=1):
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka})
        admin.create_topics([confluent_kafka.admin.NewTopic(name, partitions, 1)])[name].result(30)

    def create_container(self, name):
        try:
            self.blobs.create_container(name)
        except azure.core.exceptions.ResourceExistsError:
            pass

    def start_job(self, file):
        """Creates the job of a file beside this one and starts it."""
        self.weir("job", "create", str(pathlib.Path(__file__).with_name("jobs") / file), "--start")

    # Kafka, by kafka-python: the small programs.

    def produce_simple(self, topic, values):
        producer = kafka.KafkaProducer(bootstrap_servers=self.kafka, acks="all",
                                       value_serializer=lambda value: json.dumps(value).encode())
        sent = [producer.send(topic, value) for value in values]
        for future in sent:
            future.get(30)
        producer.close()

    def consume_simple(self, topic, count, seconds=30):
        """The first count values of a topic."""
        consumer = kafka.KafkaConsumer(topic, bootstrap_servers=self.kafka, auto_offset_reset="earliest",
                                       group_id=None, consumer_timeout_ms=seconds * 1000)
        values = []
        for message in consumer:
            values.append(message.value)
            if len(values) == count:
                break
        consumer.close()
        return values

    # Kafka, by confluent-kafka: the large ones.

    def produce_many(self, topic, keyed_values):
        """Sends (key, value) pairs of bytes with acks=all, idempotently; returns how many were acknowledged."""
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka, "enable.idempotence": True,
                                             "linger.ms": 20, "queue.buffering.max.messages": 200000})
        acknowledged, failures = [0], []

        def delivered(error, _message):
            if error:
                failures.append(error)
            else:
                acknowledged[0] += 1

        for key, value in keyed_values:
            while True:
                try:
                    producer.produce(topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(60)
        if failures:
            raise Mismatch(f"{topic}: {len(failures)} records failed, first: {failures[0]}")
        return acknowledged[0]

    def consume_many(self, topic, partitions, count, seconds=120):
        """Yields (key, value) of the first count records of a topic."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": "pipeline",
                                             "enable.auto.commit": False, "auto.offset.reset": "earliest"})
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(partitions)])
        seen, deadline = 0, time.monotonic() + seconds
        while seen < count and time.monotonic() < deadline:
            for message in consumer.consume(10000, 1.0):
                if message.error():
                    raise Mismatch(f"{topic}: {message.error()}")
                seen += 1
                yield message.key(), message.value()
        consumer.close()

    # Event Hubs, by azure-eventhub.

    def send_events(self, hub, values):
        producer = azure.eventhub.EventHubProducerClient.from_connection_string(self.eventhub, eventhub_name=hub)
        with producer:
            batch = producer.create_batch()
            for value in values:
                batch.add(azure.eventhub.EventData(json.dumps(value)))
            producer.send_batch(batch)

    def receive_events(self, hub, count, seconds=120):
        """The bodies of the first count events of a hub, as bytes."""
        consumer = azure.eventhub.EventHubConsumerClient.from_connection_string(
            self.eventhub, consumer_group="$Default", eventhub_name=hub)
        bodies, done = [], threading.Event()

        def on_events(_context, events):
            bodies.extend(event.body_as_str().encode() for event in events)
            if len(bodies) >= count:
                done.set()

        thread = threading.Thread(target=consumer.receive_batch, daemon=True, kwargs={
            "on_event_batch": on_events, "starting_position": "-1", "max_batch_size": 2000, "prefetch": 5000})
        thread.start()
        done.wait(seconds)
        consumer.close()
        thread.join(30)
        return bodies

    # Blobs, by azure-storage-blob.

    def read_csv(self, container, name, rows, seconds=120):
        """The rows of a CSV blob as dictionaries, once it holds that many."""
        blob = self.blobs.get_blob_client(container, name)
        deadline = time.monotonic() + seconds
        size = -1
        found = []
        while time.monotonic() < deadline:
            try:
                properties = blob.get_blob_properties()
            except azure.core.exceptions.ResourceNotFoundError:
                properties = None
            if properties and properties.size != size:
                size = properties.size
                text = blob.download_blob().readall().decode()
                found = list(csv.DictReader(io.StringIO(text, newline="")))
                if len(found) >= rows:
                    break
            time.sleep(0.2)
        return found
