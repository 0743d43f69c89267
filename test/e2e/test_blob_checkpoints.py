"""azure-eventhub's checkpoint store over blobs, unmodified: ownership, checkpoints, and a consumer that resumes."""
import threading

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from blob_fixtures import service
from eventhubs_fixtures import make_hub

NAMESPACE, GROUP = "ns.example", "$Default"


@pytest.fixture
def stores(server, unique):
    """Two stores on one container, as two processors have them."""
    name = unique("checkpoints")
    service(server).create_container(name)
    made = [BlobCheckpointStore.from_connection_string(server.blob_connection, name, retry_total=0) for _ in range(2)]
    yield made
    for store in made:
        store.close()


def claim(store, owner, etag=None):
    ownership = {"fully_qualified_namespace": NAMESPACE, "eventhub_name": "hub", "consumer_group": GROUP,
                 "partition_id": "0", "owner_id": owner}
    if etag:
        ownership["etag"] = etag
    return store.claim_ownership([ownership])


def test_one_owner(stores):
    first, second = stores
    won = claim(first, "one")
    assert len(won) == 1 and won[0]["etag"]
    assert claim(second, "two") == []
    listed = list(second.list_ownership(NAMESPACE, "hub", GROUP))
    assert [(o["partition_id"], o["owner_id"]) for o in listed] == [("0", "one")]
    stolen = claim(second, "two", listed[0]["etag"])
    assert len(stolen) == 1
    assert claim(first, "one", won[0]["etag"]) == []
    assert [o["owner_id"] for o in first.list_ownership(NAMESPACE, "hub", GROUP)] == ["two"]


def test_checkpoints(stores):
    first, second = stores
    for number in (5, 9):
        first.update_checkpoint({"fully_qualified_namespace": NAMESPACE, "eventhub_name": "hub",
                                 "consumer_group": GROUP, "partition_id": "1", "offset": str(number),
                                 "sequence_number": number})
    listed = list(second.list_checkpoints(NAMESPACE, "hub", GROUP))
    assert [(c["partition_id"], c["offset"], c["sequence_number"]) for c in listed] == [("1", "9", 9)]


def receive(server, hub, store, count):
    """Receives until count events came, checkpointing each."""
    client = EventHubConsumerClient.from_connection_string(server.eventhub_connection, GROUP, eventhub_name=hub,
                                                           checkpoint_store=store, load_balancing_interval=1)
    got, enough = [], threading.Event()

    def on_event(context, event):
        got.append(event.body_as_str())
        context.update_checkpoint(event)
        if len(got) >= count:
            enough.set()

    thread = threading.Thread(target=client.receive, args=(on_event,), kwargs={"starting_position": "-1"})
    thread.start()
    assert enough.wait(60), got
    client.close()
    thread.join(30)
    return got


def test_consumer_resumes(server, unique, stores):
    hub = make_hub(server, unique("resume"), 1)
    producer = EventHubProducerClient.from_connection_string(server.eventhub_connection, eventhub_name=hub)
    with producer:
        for names in (("a", "b", "c"), ("d", "e")):
            batch = producer.create_batch()
            for name in names:
                batch.add(EventData(name))
            producer.send_batch(batch)
            got = receive(server, hub, stores[0 if names[0] == "a" else 1], len(names))
            assert got == list(names)
