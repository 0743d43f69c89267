"""One log, two doors: what a Kafka client wrote, byte for byte at an Event Hubs client, and back."""
import os

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from eventhubs_fixtures import amqp_wire, make_hub, receive
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

BODIES = [b"", b"plain", "é€😀".encode(), bytes(range(256)), os.urandom(70_000), os.urandom(900_000)]


@pytest.fixture
def hub(server, unique):
    return make_hub(server, unique("cross"), 1)


def kafka_read(server, topic, count):
    consumer = KafkaConsumer(bootstrap_servers=server.kafka, auto_offset_reset="earliest", consumer_timeout_ms=20000,
                             fetch_max_bytes=10 << 20, max_partition_fetch_bytes=10 << 20)
    consumer.assign([TopicPartition(topic, 0)])
    got = []
    for record in consumer:
        got.append(record)
        if len(got) == count:
            break
    consumer.close()
    assert len(got) == count
    return got


def amqp_read(server, hub, count):
    client = EventHubConsumerClient.from_connection_string(
        server.eventhub_connection, consumer_group="$Default", eventhub_name=hub)
    return [event for _, event in receive(client, count, "0")]


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_kafka_to_event_hubs(server, hub, compression):
    producer = KafkaProducer(bootstrap_servers=server.kafka, compression_type=compression, max_request_size=4 << 20,
                             linger_ms=50)
    futures = [producer.send(hub, value=body, key=b"k%d" % number if number % 2 else None, partition=0,
                             headers=[("h", b"\xa1\x05hello"), ("message-id", b"\x00raw")])
               for number, body in enumerate(BODIES)]
    offsets = [future.get(20).offset for future in futures]
    producer.close()
    for number, event in enumerate(amqp_read(server, hub, len(BODIES))):
        assert b"".join(event.body) == BODIES[number]
        assert event.sequence_number == offsets[number] and event.offset == str(offsets[number])
        assert event.properties == {b"h": b"\xa1\x05hello", b"message-id": b"\x00raw"}
        assert event.partition_key is None
        annotations = event.raw_amqp_message.annotations
        assert annotations.get(b"x-opt-kafka-key") == (b"k%d" % number if number % 2 else None)


def test_event_hubs_to_kafka(server, hub):
    client = EventHubProducerClient.from_connection_string(server.eventhub_connection, eventhub_name=hub)
    with client:
        for body in BODIES:
            event = EventData(body)
            event.properties = {"text": "hello", "number": 1234, "yes": True}
            event.message_id = "id-1"
            event.content_type = "application/json"
            client.send_event(event, partition_key="the-key")
    for number, record in enumerate(kafka_read(server, hub, len(BODIES))):
        assert record.value == BODIES[number]
        assert record.key is None and record.offset == number
        assert dict(record.headers) == {
            "x-opt-partition-key": b"the-key", "message-id": b"id-1", "content-type": b"application/json",
            "text": b"\xa1\x05hello", "number": amqp_integer(record, 1234), "yes": dict(record.headers)["yes"]}
        assert dict(record.headers)["yes"] in (b"\x41", b"\x56\x01")


def amqp_integer(record, number):
    """The property as the client encoded it: constructor and big-endian bytes of some width."""
    raw = dict(record.headers)["number"]
    assert amqp_wire.decode(raw)[0] == number and raw[0] in (0x71, 0x81)
    return raw


def test_batch_is_one_kafka_batch(server, hub):
    client = EventHubProducerClient.from_connection_string(server.eventhub_connection, eventhub_name=hub)
    with client:
        client.send_batch([EventData(str(number)) for number in range(1000)])
    records = kafka_read(server, hub, 1000)
    assert [record.value for record in records] == [b"%d" % number for number in range(1000)]
    assert len({record.timestamp for record in records}) == 1


def test_the_same_bytes_through_both_doors(server, hub):
    """Interleaved writes of both clients, read by both: same order, same offsets, same bytes."""
    producer = KafkaProducer(bootstrap_servers=server.kafka)
    client = EventHubProducerClient.from_connection_string(server.eventhub_connection, eventhub_name=hub)
    wrote = []
    with client:
        for number in range(20):
            body = os.urandom(50 + number)
            if number % 2:
                producer.send(hub, value=body, partition=0).get(20)
            else:
                client.send_event(EventData(body))
            wrote.append(body)
    producer.close()
    records, events = kafka_read(server, hub, 20), amqp_read(server, hub, 20)
    assert [record.value for record in records] == [b"".join(event.body) for event in events] == wrote
    assert [record.offset for record in records] == [event.sequence_number for event in events] == list(range(20))
    for record, event in zip(records, events):
        assert record.timestamp == round(event.enqueued_time.timestamp() * 1000)


def test_tombstone(server, hub):
    producer = KafkaProducer(bootstrap_servers=server.kafka)
    producer.send(hub, key=b"gone", value=None, partition=0).get(20)
    producer.close()
    event, = amqp_read(server, hub, 1)
    assert b"".join(event.body) == b""
    assert event.raw_amqp_message.annotations[b"x-opt-kafka-key"] == b"gone"


def test_event_hubs_client_reads_topics_made_by_kafka(server, unique):
    """A topic that a Kafka producer creates by writing to it is a hub at once."""
    topic = unique("auto")
    producer = KafkaProducer(bootstrap_servers=server.kafka)
    producer.send(topic, b"first").get(20)
    producer.close()
    event, = amqp_read(server, topic, 1)
    assert event.body_as_str() == "first"
