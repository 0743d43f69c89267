"""azure-eventhub for Python, unmodified, sync and aio."""
import asyncio
import threading
import time

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AioConsumer
from azure.eventhub.aio import EventHubProducerClient as AioProducer
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError, EventDataSendError
from eventhubs_fixtures import make_hub, receive, wait_until

FAST = {"retry_total": 0}


@pytest.fixture
def hub(server, unique):
    return make_hub(server, unique("hub"), 2)


def producer(server, hub, **options):
    return EventHubProducerClient.from_connection_string(server.eventhub_connection, eventhub_name=hub, **options)


def consumer(server, hub, group="$Default", **options):
    return EventHubConsumerClient.from_connection_string(
        server.eventhub_connection, consumer_group=group, eventhub_name=hub, load_balancing_interval=1, **options)


def send(server, hub, bodies, **options):
    with producer(server, hub) as client:
        client.send_batch([EventData(body) for body in bodies], **options)


def test_properties(server, hub):
    with producer(server, hub) as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub
        assert properties["partition_ids"] == ["0", "1"]
        assert abs(properties["created_at"].timestamp() - time.time()) < 300
        empty = client.get_partition_properties("1")
        assert empty["is_empty"] and empty["last_enqueued_sequence_number"] == -1
        client.send_batch([EventData(b"a"), EventData(b"b")], partition_id="1")
        full = client.get_partition_properties("1")
        assert not full["is_empty"]
        assert (full["beginning_sequence_number"], full["last_enqueued_sequence_number"]) == (0, 1)
        assert full["last_enqueued_offset"] == "1"
    with producer(server, hub, **FAST) as client:
        with pytest.raises(EventHubError, match="partition is invalid"):
            client.get_partition_properties("7")


def test_batch_and_annotations(server, hub):
    before = time.time()
    with producer(server, hub) as client:
        batch = client.create_batch(partition_key="device-1")
        for number in range(100):
            event = EventData(f"body {number}")
            event.properties = {"number": number, "text": "é", "flag": True, "real": 1.5, "raw": b"\x00\xff"}
            event.content_type = "text/plain"
            event.message_id = f"m{number}"
            event.correlation_id = "c"
            batch.add(event)
        client.send_batch(batch)
    got = receive(consumer(server, hub), 100)
    assert len({partition for partition, _ in got}) == 1
    for number, (_, event) in enumerate(got):
        assert event.body_as_str() == f"body {number}"
        assert event.sequence_number == number
        assert event.offset == str(number)
        assert before - 1 <= event.enqueued_time.timestamp() <= time.time() + 1
        assert event.partition_key == b"device-1"
        assert event.properties == {b"number": number, b"text": "é".encode(), b"flag": True, b"real": 1.5,
                                    b"raw": b"\x00\xff"}
        assert (event.content_type, event.message_id, event.correlation_id) == ("text/plain", f"m{number}", "c")


def test_single_events_to_partitions(server, hub):
    with producer(server, hub) as client:
        for number in range(5):
            client.send_event(EventData(b"zero %d" % number), partition_id="0")
            client.send_event(EventData(b"one %d" % number), partition_id="1")
    for partition, word in (("0", b"zero"), ("1", b"one")):
        got = receive(consumer(server, hub), 5, partition)
        assert [b"".join(event.body) for _, event in got] == [word + b" %d" % number for number in range(5)]


def test_round_robin_uses_all_partitions(server, hub):
    with producer(server, hub) as client:
        for number in range(8):
            client.send_batch([EventData(str(number))])
        counts = [client.get_partition_properties(name)["last_enqueued_sequence_number"] + 1 for name in "01"]
    assert counts == [4, 4]


def test_same_key_same_partition(server, unique):
    hub = make_hub(server, unique("keys"), 4)
    with producer(server, hub) as client:
        for _ in range(3):
            for key in ("7", "test"):
                client.send_event(EventData(key), partition_key=key)
    got = receive(consumer(server, hub), 6)
    assert {(partition, event.body_as_str()) for partition, event in got} == {("3", "7"), ("0", "test")}


@pytest.mark.parametrize("position, inclusive, first", [
    ("-1", False, 0), ("-1", True, 0), ("4", False, 5), ("4", True, 4), (4, False, 5), (4, True, 4), ("9", True, 9),
    ("time", False, 5), ("time", True, 5)])
def test_start_positions(server, hub, position, inclusive, first):
    send(server, hub, [f"{number}" for number in range(5)], partition_id="0")
    time.sleep(0.01)
    middle = time.time()
    time.sleep(0.01)
    send(server, hub, [f"{number}" for number in range(5, 10)], partition_id="0")
    if position == "time":
        import datetime
        position = datetime.datetime.fromtimestamp(middle, datetime.timezone.utc)
    got = receive(consumer(server, hub), 10 - first, "0", starting_position=position,
                  starting_position_inclusive=inclusive)
    assert [event.sequence_number for _, event in got] == list(range(first, 10))


def test_latest_sees_only_what_comes(server, hub):
    send(server, hub, ["old"], partition_id="0")
    client = consumer(server, hub)
    got, ready, done = [], threading.Event(), threading.Event()

    def on_event(context, event):
        ready.set()
        if event is not None:
            got.append(event.body_as_str())
            done.set()

    worker = threading.Thread(target=lambda: client.receive(
        on_event, partition_id="0", starting_position="@latest", max_wait_time=0.1))
    worker.start()
    assert ready.wait(20)
    send(server, hub, ["new"], partition_id="0")
    assert done.wait(20)
    client.close()
    worker.join(20)
    assert got == ["new"]


def test_position_beyond_the_end(server, hub):
    send(server, hub, ["only"], partition_id="0")
    client = consumer(server, hub, **FAST)
    failed, errors = threading.Event(), []

    def on_error(_, error):
        errors.append(error)
        failed.set()

    worker = threading.Thread(target=lambda: client.receive(
        lambda *_: None, on_error=on_error, partition_id="0", starting_position=71181))
    worker.start()
    assert failed.wait(30)
    client.close()
    worker.join(20)
    assert "The supplied sequence number '71181' is invalid. The last sequence number in the system is '0'" in str(
        errors[0])


def test_large_events(server, hub):
    bodies = [bytes([65 + number]) * size for number, size in enumerate((60_000, 65_536, 300_000, 1_048_000))]
    with producer(server, hub) as client:
        for body in bodies:
            client.send_event(EventData(body), partition_id="0")
    got = receive(consumer(server, hub), len(bodies), "0")
    assert [b"".join(event.body) for _, event in got] == bodies


def test_too_large_is_refused(server, hub):
    with producer(server, hub, **FAST) as client:
        with pytest.raises((EventDataSendError, EventHubError, ValueError)):
            client.send_event(EventData(b"x" * 1_100_000), partition_id="0")
    with producer(server, hub) as client:
        client.send_event(EventData(b"fits"), partition_id="0")


def test_owner_level(server, hub):
    send(server, hub, ["x"], partition_id="0")
    low, high = consumer(server, hub, **FAST), consumer(server, hub, **FAST)
    started, kicked, errors = threading.Event(), threading.Event(), []

    def on_error(_, error):
        errors.append(error)
        kicked.set()

    first = threading.Thread(target=lambda: low.receive(
        lambda *_: started.set(), on_error=on_error, partition_id="0", starting_position="-1", owner_level=1))
    first.start()
    assert started.wait(20)
    won = threading.Event()
    second = threading.Thread(target=lambda: high.receive(
        lambda *_: won.set(), partition_id="0", starting_position="-1", owner_level=2))
    second.start()
    assert won.wait(20) and kicked.wait(20)
    assert "New receiver" in str(errors[0]) and "higher epoch of '2'" in str(errors[0])
    refused, late = consumer(server, hub, **FAST), []
    gone = threading.Event()

    def on_refused(_, error):
        late.append(error)
        gone.set()

    third = threading.Thread(target=lambda: refused.receive(
        lambda *_: None, on_error=on_refused, partition_id="0", starting_position="-1", owner_level=1))
    third.start()
    assert gone.wait(20)
    assert "higher epoch" in str(late[0])
    for client, worker in ((low, first), (high, second), (refused, third)):
        client.close()
        worker.join(20)


def test_last_enqueued_properties(server, hub):
    send(server, hub, [str(number) for number in range(3)], partition_id="0")
    client, seen = consumer(server, hub), []
    done = threading.Event()

    def on_event(context, event):
        seen.append(context.last_enqueued_event_properties)
        done.set()

    worker = threading.Thread(target=lambda: client.receive(
        on_event, partition_id="0", starting_position="-1", track_last_enqueued_event_properties=True))
    worker.start()
    assert done.wait(20)
    client.close()
    worker.join(20)
    assert seen[0]["sequence_number"] == 2 and seen[0]["offset"] == "2"
    assert seen[0]["enqueued_time"] and seen[0]["retrieval_time"]


def test_wrong_key(server, hub):
    wrong = server.eventhub_connection.replace("SAS_KEY_VALUE", "WRONG")
    with EventHubProducerClient.from_connection_string(wrong, eventhub_name=hub, **FAST) as client:
        with pytest.raises(AuthenticationError, match="401(.|\n)*InvalidSignature"):
            client.send_event(EventData("x"))


def test_unknown_hub(server, unique):
    with producer(server, unique("none"), **FAST) as client:
        with pytest.raises((ConnectError, EventHubError)) as caught:
            client.send_event(EventData("x"))
        assert "could not be found" in str(caught.value)


def test_amqp_bodies_survive(server, hub):
    from azure.eventhub.amqp import AmqpAnnotatedMessage
    messages = [AmqpAnnotatedMessage(value_body={"a": 1, "b": [True, None, "x"]}),
                AmqpAnnotatedMessage(sequence_body=[[1, 2], [3]]),
                AmqpAnnotatedMessage(data_body=[b"one", b"two"]),
                AmqpAnnotatedMessage(value_body="text")]
    with producer(server, hub) as client:
        client.send_batch(messages, partition_id="0")
    got = [event.raw_amqp_message for _, event in receive(consumer(server, hub), 4, "0")]
    assert got[0].body == {b"a": 1, b"b": [True, None, b"x"]}
    assert list(got[1].body) == [[1, 2], [3]]
    assert list(got[2].body) == [b"one", b"two"]
    assert got[3].body == b"text"


def test_consumer_group_by_use(server, hub):
    send(server, hub, ["x"], partition_id="0")
    assert len(receive(consumer(server, hub, "made-by-use"), 1, "0")) == 1


def test_aio(server, hub):
    async def run():
        async with AioProducer.from_connection_string(server.eventhub_connection, eventhub_name=hub) as client:
            assert (await client.get_eventhub_properties())["partition_ids"] == ["0", "1"]
            for number in range(10):
                batch = await client.create_batch(partition_id=str(number % 2))
                for inner in range(10):
                    batch.add(EventData(f"{number}.{inner}"))
                await client.send_batch(batch)
        client = AioConsumer.from_connection_string(
            server.eventhub_connection, consumer_group="$Default", eventhub_name=hub,
            load_balancing_interval=1)
        got, full = [], asyncio.Event()

        async def on_event(context, event):
            got.append((context.partition_id, event.body_as_str()))
            if len(got) == 100:
                full.set()

        async with client:
            task = asyncio.ensure_future(client.receive(on_event, starting_position="-1"))
            await asyncio.wait_for(full.wait(), 30)
        await task
        return got

    got = asyncio.run(run())
    for partition in (0, 1):
        want = [f"{number}.{inner}" for number in range(partition, 10, 2) for inner in range(10)]
        assert [body for name, body in got if name == str(partition)] == want


def test_buffered_producer(server, hub):
    sent, failed = [], []
    client = EventHubProducerClient.from_connection_string(
        server.eventhub_connection, eventhub_name=hub, buffered_mode=True,
        on_success=lambda events, _: sent.extend(events), on_error=lambda events, _, error: failed.append(error))
    with client:
        for number in range(500):
            client.send_event(EventData(str(number)))
        client.flush()
    assert not failed and len(sent) == 500
    assert len(receive(consumer(server, hub), 500)) == 500


def test_emulator_config(start_server, tmp_path):
    """The emulator's Config.json as it is: hubs at start, consumer groups by name."""
    entities = tmp_path / "Config.json"
    entities.write_text('{"UserConfig":{"NamespaceConfig":[{"Type":"EventHub","Name":"emulatorNs1","Entities":'
                        '[{"Name":"eh1","PartitionCount":"3","ConsumerGroups":[{"Name":"cg1"}]}]}],'
                        '"LoggingConfig":{"Type":"File"}}}')
    settings = tmp_path / "weir.yaml"
    settings.write_text(f"amqp:\n  entities: {entities}\n")
    server = start_server("--config", str(settings))
    with producer(server, "eh1") as client:
        assert client.get_partition_ids() == ["0", "1", "2"]
        client.send_batch([EventData("x")], partition_id="2")
    assert len(receive(consumer(server, "eh1", "cg1"), 1)) == 1
    with pytest.raises(AssertionError, match="could not be found"):
        receive(consumer(server, "eh1", "other", **FAST), 1, seconds=5)


def test_acknowledged_events_survive_kill(start_server, unique):
    server = start_server()
    hub = make_hub(server, unique("durable"), 1)
    send(server, hub, [str(number) for number in range(200)])
    server.kill()
    server = start_server(data=server.data)
    got = receive(consumer(server, hub), 200)
    assert [event.body_as_str() for _, event in got] == [str(number) for number in range(200)]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_clients_outlive_a_restart(start_server, unique, end):
    """The same producer and consumer go on after it; nothing is lost."""
    server = start_server()
    server.fix_ports()
    hub = make_hub(server, unique("restart"), 1)
    got, wrong = [], []
    patient = {"retry_total": 20, "retry_backoff_factor": 0.1}
    reader, writer = consumer(server, hub, **patient), producer(server, hub, **patient)
    worker = threading.Thread(target=lambda: reader.receive(
        lambda _, event: got.append(event.body_as_str()), on_error=lambda _, error: wrong.append(error), partition_id="0",
        starting_position="-1"))
    try:
        writer.send_batch([EventData("before")], partition_id="0")
        worker.start()
        wait_until(lambda: "before" in got)
        getattr(server, end)()
        server.start()
        writer.send_batch([EventData("after")], partition_id="0")
        wait_until(lambda: "after" in got, 30)
    finally:
        writer.close()
        reader.close()
        worker.join(20)
    assert got[0] == "before" and got[-1] == "after", (got, wrong)
