"""What the Event Hubs tests share: hubs of their own, and receiving with a deadline."""
import pathlib
import sys
import threading
import time

from kafka.admin import KafkaAdminClient, NewTopic

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import amqp_wire  # noqa: E402


def make_hub(server, name, partitions=1, configs=None):
    """A hub is a topic."""
    admin = KafkaAdminClient(bootstrap_servers=server.kafka)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
    finally:
        admin.close()
    return name


def receive(client, count, partition_id=None, seconds=30, **options):
    """Receives count events with azure-eventhub, then stops; [(partition, event)]."""
    got, full = [], threading.Event()

    def on_events(context, events):
        if not full.is_set():
            got.extend((context.partition_id, event) for event in events)
        if len(got) >= count:
            full.set()

    options.setdefault("starting_position", "-1")
    if partition_id is not None:
        options["partition_id"] = partition_id
    failures = []
    worker = threading.Thread(
        target=lambda: client.receive_batch(on_events, on_error=lambda _, error: failures.append(error), **options))
    worker.start()
    full.wait(seconds)
    client.close()
    worker.join(20)
    assert len(got) >= count, (len(got), failures)
    return got


def wait_until(check, seconds=10):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


__all__ = ["amqp_wire", "make_hub", "receive", "wait_until"]
