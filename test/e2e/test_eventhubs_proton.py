"""Qpid Proton's client: an AMQP 1.0 implementation that shares nothing with the SDKs or with this server."""
import pytest
from eventhubs_fixtures import amqp_wire, make_hub

proton = pytest.importorskip("proton")
from proton import Message, symbol  # noqa: E402
from proton.reactor import AtLeastOnce, Filter  # noqa: E402
from proton.utils import BlockingConnection, LinkDetached  # noqa: E402


@pytest.fixture
def hub(server, unique):
    return make_hub(server, unique("proton"), 1)


@pytest.fixture(params=["ANONYMOUS", "PLAIN"])
def connection(server, request):
    options = {"allowed_mechs": request.param, "sasl_enabled": True, "allow_insecure_mechs": True}
    if request.param == "PLAIN":
        options.update(user="RootManageSharedAccessKey", password="SAS_KEY_VALUE")
    one = BlockingConnection(f"amqp://{server.amqp}", timeout=20, **options)
    yield one
    one.close()


def read(connection, hub, count, text=None):
    options = None
    if text:
        filters = {symbol("apache.org:selector-filter:string"):
                   proton.Described(proton.ulong(0x0000468C00000004), text)}
        options = [Filter(filters), AtLeastOnce()]
    receiver = connection.create_receiver(f"{hub}/ConsumerGroups/$Default/Partitions/0", credit=count, options=options)
    got = [receiver.receive(timeout=20) for _ in range(count)]
    receiver.close()
    return got


def test_send_and_receive(connection, hub):
    sender = connection.create_sender(hub)
    for number in range(50):
        sender.send(Message(body=b"body %d" % number, properties={"n": number, "t": "x"}, id=f"id{number}",
                            correlation_id=proton.ulong(7), subject="s", content_type=symbol("text/plain"),
                            inferred=True))
    sender.close()
    for number, message in enumerate(read(connection, hub, 50)):
        assert bytes(message.body) == b"body %d" % number
        assert message.properties == {"n": number, "t": "x"}
        assert (message.id, message.correlation_id, message.subject) == (f"id{number}", 7, "s")
        assert message.annotations[symbol("x-opt-sequence-number")] == number
        assert message.annotations[symbol("x-opt-offset")] == str(number)


def test_value_bodies(connection, hub):
    sender = connection.create_sender(f"{hub}/Partitions/0")
    bodies = ["text", {"a": 1}, [1, "two"], 5, 1.5, None, True]
    for body in bodies:
        sender.send(Message(body=body))
    sender.close()
    assert [message.body for message in read(connection, hub, len(bodies))] == bodies


def test_large_message(connection, hub):
    body = b"z" * 1_000_000
    sender = connection.create_sender(hub)
    sender.send(Message(body=body, inferred=True))
    sender.close()
    assert bytes(read(connection, hub, 1)[0].body) == body


def test_filter(connection, hub):
    sender = connection.create_sender(hub)
    for number in range(5):
        sender.send(Message(body=b"%d" % number, inferred=True))
    sender.close()
    got = read(connection, hub, 2, "amqp.annotation.x-opt-sequence-number > '2'")
    assert [bytes(message.body) for message in got] == [b"3", b"4"]


def test_unknown_hub(connection, unique):
    with pytest.raises(LinkDetached, match="could not be found"):
        connection.create_sender(unique("none"))
