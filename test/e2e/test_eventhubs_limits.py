"""Limits of the Event Hubs door, by what the protocol says at each: memory, numbers, time, windows."""
import os
import socket

import pytest
from eventhubs_fixtures import amqp_wire, make_hub, wait_until
from amqp_wire import (BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN, TRANSFER, Closed, Described, Peer, Symbol, UInt,
                       ULong, data, encode, sections, token)


@pytest.fixture
def locked(start_server, tmp_path):
    """A function that starts a server with a key of its own and further settings."""
    def start(**settings):
        path = tmp_path / "weir.yaml"
        lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
        path.write_text("amqp:\n  key_name: own\n  key: secret\n" + lines)
        return start_server("--config", str(path))
    return start


@pytest.fixture
def hub(server, unique):
    return make_hub(server, unique("limits"), 1)


@pytest.fixture
def peer(server):
    with Peer(server.amqp) as one:
        one.open()
        yield one


def condition_of(fields):
    return str(fields[-1].value[0])


def source(hub):
    return f"{hub}/ConsumerGroups/$Default/Partitions/0"


def put_token(peer, channel=0):
    return peer.put_token(token("sb://h/", "secret", "own"), channel=channel)[0]


def request(message_id="m", operation="READ", name="nothing"):
    return (encode(Described(ULong(0x73), [message_id, None, None, None, "answers"])) +
            encode(Described(ULong(0x74), {"operation": operation, "name": name, "type": "com.microsoft:eventhub"})))


def session_echo(peer, channel=0):
    """Asks the session for a flow and reads up to it; the detach that came before it, if any."""
    peer.send(FLOW, [UInt(1), UInt(5000), UInt(0), UInt(5000), None, None, None, None, False, True], channel=channel)
    detached = None
    while True:
        code, fields = peer.receive()[1:3]
        if code == DETACH:
            detached = fields
        if code == FLOW and fields[4] is None:
            return detached


# ---- what is held for a peer ----

def test_unfinished_requests_of_a_stranger(locked):
    """Without a token about a mebibyte is held, whatever the number of links; the connection goes on."""
    server = locked()
    with Peer(server.amqp) as peer:
        peer.open()
        handle = -1
        detached = None
        while detached is None and handle < 99:
            handle += 1
            peer.attach(handle, "$cbs", False, answer=False)
            peer.transfer(handle, handle, data(b"x" * 60_000)[:-100], more=True)
            detached = session_echo(peer)
        assert condition_of(detached) == "amqp:resource-limit-exceeded" and handle < 20
        for one in range(handle):
            peer.send(DETACH, [UInt(one), True])
            assert peer.receive(DETACH)[2][0] == one
        assert put_token(peer) == 202
        for one in range(20):
            peer.attach(one, "$cbs", False, answer=False, name=f"again-{one}")
            peer.transfer(one, one, data(b"x" * 60_000)[:-100], more=True)
            assert session_echo(peer) is None


def test_links_and_sessions_of_a_stranger(locked):
    server = locked()
    with Peer(server.amqp) as peer:
        peer.open()
        big = {Symbol("k"): "v" * 50_000}
        answers = [peer.attach(handle, "$cbs", False, properties=big) for handle in range(25)]
        assert condition_of(answers[-1][1]) == "amqp:resource-limit-exceeded" and len(answers[0]) == 14
    with Peer(server.amqp) as peer:
        peer.open()
        begin = [None, UInt(0), UInt(10), UInt(10)]
        for channel in range(1, 1000):
            peer.send(BEGIN, begin, channel=channel)
        assert condition_of(peer.receive(CLOSE)[2]) == "amqp:resource-limit-exceeded"
    with Peer(server.amqp) as peer:
        peer.open()
        assert put_token(peer) == 202
        for channel in range(1, 1000):
            peer.send(BEGIN, begin, channel=channel)
        assert [peer.receive()[1] for channel in range(1, 1000)] == [BEGIN] * 999


def test_size_of_requests(peer):
    for handle, node in enumerate(["$cbs", "$management"]):
        assert peer.attach(handle, node, False)[10] == 65536
        peer.receive(FLOW)
        peer.transfer(handle, handle, b"x" * 60_000, more=True)
        peer.transfer(handle, handle, b"x" * 10_000, first=False)
        assert str(peer.receive(DISPOSITION)[2][4].value[0].value[0]) == "amqp:link:message-size-exceeded"
        assert condition_of(peer.receive(DETACH)[2]) == "amqp:link:message-size-exceeded"


@pytest.mark.parametrize("node", ["$cbs", "$management"])
def test_size_of_message_ids(peer, node):
    peer.attach(0, node, False)
    peer.attach(1, node, True, reply="answers")
    peer.flow(1, 10)
    for number, wrong in enumerate(["i" * 257, b"\0" * 300, "i" * 60_000]):
        peer.transfer(0, number, request(wrong))
        rejected = peer.receive(DISPOSITION)[2][4]
        assert rejected.code == 0x25 and str(rejected.value[0].value[0]) == "amqp:invalid-field"
        assert "256 bytes" in rejected.value[0].value[1]
    for number, right in enumerate(["i" * 256, b"\0" * 256, ULong(1 << 60)]):
        peer.transfer(0, 3 + number, request(right))
        assert sections(peer.message(1)[1])[0x73][5] == right


def test_answers_that_wait_for_credit(locked):
    """They are counted in bytes, over all links of the connection."""
    server = locked()
    with Peer(server.amqp) as peer:
        peer.open()
        sent, gone = 0, None
        for channel in range(1, 20):
            peer.begin(channel)
            peer.attach(0, "$management", False, channel=channel)
            peer.attach(1, "$management", True, reply="answers", channel=channel)
            for number in range(100):
                peer.transfer(0, number, request("i" * 256), channel=channel)
                gone = gone or session_echo(peer, channel)
                if gone:
                    break
                sent += 1
            if gone:
                break
        assert condition_of(gone) == "amqp:resource-limit-exceeded" and 300 < sent < 1500


def test_a_stranger_that_does_not_read(locked):
    server = locked()
    with Peer(server.amqp) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.open()
        out = []
        keep, peer.send_raw = peer.send_raw, out.append
        peer.send(FLOW, [UInt(1), UInt(5000), UInt(0), UInt(5000), None, None, None, None, False, True])
        with pytest.raises(OSError) as info:
            for _ in range(100):
                keep(out[0] * 5000)
        assert not isinstance(info.value, TimeoutError)


# ---- numbers and time ----

def test_time_without_a_token(locked):
    server = locked(token_wait_ms=700)
    with Peer(server.amqp) as trusted, Peer(server.amqp) as stranger, Peer(server.amqp) as refused, \
            Peer(server.amqp) as plain, Peer(server.amqp) as silent:
        silent.send_raw(amqp_wire.SASL)
        trusted.open()
        assert put_token(trusted) == 202
        assert plain.sasl("PLAIN", b"\0own\0secret") == 0
        plain.send(OPEN, ["plain"])
        stranger.open()
        refused.open()
        assert refused.put_token(token("sb://h/", "wrong", "own"))[0] == 401
        for peer in (stranger, refused):
            assert condition_of(peer.receive(CLOSE)[2]) == "amqp:unauthorized-access"
        with pytest.raises(Closed):
            while True:
                silent.read(1)
        trusted.begin(1)
        plain.receive(OPEN)
        plain.begin()


def test_number_of_connections(locked):
    server = locked(connections_max=2)
    with Peer(server.amqp) as one, Peer(server.amqp) as two:
        one.open()
        two.open()
        for _ in range(3):
            with Peer(server.amqp) as three:
                assert three.sasl() == 0
                three.send(OPEN, ["one too many"])
                assert three.receive()[1] == OPEN
                assert condition_of(three.receive()[2]) == "amqp:resource-limit-exceeded"
                with pytest.raises(Closed):
                    three.read(1)
        two.close()

        def fits():
            with Peer(server.amqp) as three:
                assert three.sasl() == 0
                three.send(OPEN, ["a place is free"])
                three.receive(OPEN)
                three.send(BEGIN, [None, UInt(0), UInt(10), UInt(10)])
                return three.receive()[1] == BEGIN
        wait_until(fits)
        one.begin(1)


def test_idle_time_that_cannot_be_kept(server):
    with Peer(server.amqp) as peer:
        assert peer.sasl() == 0
        peer.send(OPEN, ["hasty", None, None, None, UInt(10)])
        assert peer.receive()[1] == OPEN
        assert condition_of(peer.receive()[2]) == "amqp:invalid-field"


# ---- windows ----

def events(server, hub, bodies):
    with Peer(server.amqp) as peer:
        peer.open()
        peer.attach(0, f"{hub}/Partitions/0", False)
        for number, body in enumerate(bodies):
            peer.transfer(0, number, data(body))
        done = -1
        while done < len(bodies) - 1:
            done = peer.receive(DISPOSITION)[2][2]


def echo(peer, channel=0):
    """Asks for a flow; what came before it."""
    peer.send(FLOW, [UInt(echo.seen), UInt(0), UInt(0), UInt(5000), None, None, None, None, False, True], channel=channel)
    seen = []
    while True:
        code = peer.receive()[1]
        if code == FLOW:
            return seen
        seen.append(code)


def test_every_frame_is_in_the_window(server, hub):
    """A message of eleven frames through a window of three, then one at a time."""
    body = os.urandom(5000)
    events(server, hub, [body, b"next"])
    with Peer(server.amqp) as peer:
        peer.open(frame_max=512, window=3)
        peer.attach(1, source(hub), True)
        peer.flow(1, 10, window=3)
        payload, more, seen = b"", True, 0
        while more:
            fields, part = peer.receive(TRANSFER)[2:]
            payload, more, seen = payload + part, fields[5], seen + 1
            if seen >= 3 and more:
                echo.seen = seen + 1
                assert echo(peer) == []
                peer.send(FLOW, [UInt(seen + 1), UInt(1), UInt(0), UInt(5000)])
        assert sections(payload)[0x75] == body and seen > 10
        echo.seen = seen + 1
        assert echo(peer) == []
        peer.send(FLOW, [UInt(seen + 1), UInt(100), UInt(0), UInt(5000)])
        assert sections(peer.message(1)[1])[0x75] == b"next"


def test_links_share_the_window(server, hub):
    """Deliveries of two links cut at the window: frames of both may follow, each message is whole."""
    body = os.urandom(3000)
    events(server, hub, [body])
    with Peer(server.amqp) as peer:
        peer.open(frame_max=512, window=0)
        for handle in (1, 2):
            peer.attach(handle, source(hub), True)
            peer.flow(handle, 10, window=0)
        got, seen = {1: b"", 2: b""}, 0
        done = set()
        while len(done) < 2:
            peer.send(FLOW, [UInt(seen + 1), UInt(2), UInt(0), UInt(5000)])
            for _ in range(2):
                if len(done) == 2:
                    break
                fields, part = peer.receive(TRANSFER)[2:]
                got[fields[0]] += part
                seen += 1
                if not fields[5]:
                    done.add(fields[0])
        assert all(sections(whole)[0x75] == body for whole in got.values())


def test_detach_in_the_middle_of_a_delivery(server, hub):
    events(server, hub, [os.urandom(3000)])
    with Peer(server.amqp) as peer:
        peer.open(frame_max=512, window=2)
        peer.attach(1, source(hub), True)
        peer.flow(1, 10, window=2)
        assert peer.receive(TRANSFER)[2][5] is True
        peer.send(DETACH, [UInt(1), True])
        assert peer.receive(DETACH)[2] == [1, True, None]
        echo.seen = 3
        peer.send(FLOW, [UInt(3), UInt(100), UInt(0), UInt(5000)])
        assert echo(peer) == []
        peer.attach(1, source(hub), True, name="again")
        peer.flow(1, 10, next_incoming=3)
        assert len(sections(peer.message(1)[1])[0x75]) == 3000


def test_answers_are_in_the_window(server, hub):
    with Peer(server.amqp) as peer:
        peer.open(frame_max=512, window=0)
        peer.attach(0, "$management", False)
        peer.attach(1, "$management", True, reply="answers")
        peer.flow(1, 10, window=0)
        peer.transfer(0, 0, request("i" * 256, name=hub))
        peer.receive(DISPOSITION)
        echo.seen = 1
        assert echo(peer) == []
        peer.send(FLOW, [UInt(1), UInt(1), UInt(0), UInt(5000)])
        first, part = peer.receive(TRANSFER)[2:]
        assert first[5] is True
        echo.seen = 2
        assert echo(peer) == []
        peer.send(FLOW, [UInt(2), UInt(9), UInt(0), UInt(5000)])
        fields, rest = peer.receive(TRANSFER)[2:]
        assert not fields[5] and sections(part + rest)[0x73][5] == "i" * 256


def test_largest_window_and_credit(server, hub):
    events(server, hub, [b"%d" % number for number in range(50)])
    with Peer(server.amqp) as peer:
        peer.open(window=0xffffffff)
        peer.attach(1, source(hub), True)
        peer.flow(1, 0xffffffff, window=0xffffffff)
        for number in range(25):
            assert sections(peer.message(1)[1])[0x75] == b"%d" % number
        peer.flow(1, 0xffffffff, window=0xffffffff, count=10, next_incoming=11)
        events(server, hub, [b"later"])
        for number in range(25, 50):
            assert sections(peer.message(1)[1])[0x75] == b"%d" % number
        assert sections(peer.message(1)[1])[0x75] == b"later"


# ---- channels, handles, names ----

def test_handle_in_use_ends_the_session(peer, hub):
    peer.begin(1)
    peer.attach(3, hub, False)
    peer.attach(3, hub, False, channel=1)
    peer.attach(3, hub, False, name="other", answer=False)
    peer.transfer(3, 0, data(b"too late"))
    peer.attach(9, hub, False, name="third", answer=False)
    assert condition_of(peer.receive(END)[2]) == "amqp:session:handle-in-use"
    peer.send(END, [])
    peer.transfer(3, 0, data(b"the other session goes on"), channel=1)
    assert peer.receive(DISPOSITION)[0] == 1
    peer.begin(0)
    assert len(peer.attach(3, hub, False)) == 14


@pytest.mark.parametrize("code, fields", [
    (TRANSFER, [UInt(7), UInt(0), b"t", UInt(0)]), (DETACH, [UInt(7), True]),
    (FLOW, [UInt(1), UInt(9), UInt(0), UInt(9), UInt(7), UInt(0), UInt(1)])])
def test_handle_that_was_never_attached(peer, hub, code, fields):
    peer.send(code, fields, data(b"x") if code == TRANSFER else b"")
    assert condition_of(peer.receive(END)[2]) == "amqp:session:unattached-handle"
    peer.begin(1)
    peer.attach(7, hub, False, channel=1)
    peer.send(DETACH, [UInt(7), True], channel=1)
    peer.receive(DETACH)
    peer.send(code, fields, data(b"x") if code == TRANSFER else b"", channel=1)  # late, not wrong
    assert len(peer.attach(8, hub, False, channel=1)) == 14


@pytest.mark.parametrize("code, fields, channel", [
    (BEGIN, [None, UInt(0), UInt(1), UInt(1)], 5000), (amqp_wire.ATTACH, ["x", UInt(256), True], 0),
    (TRANSFER, [UInt(256), UInt(0), b"t", UInt(0)], 0), (DETACH, [UInt(0xffffffff), True], 0)])
def test_numbers_out_of_range(peer, code, fields, channel):
    peer.send(code, fields, channel=channel)
    assert condition_of(peer.receive(CLOSE)[2]) == "amqp:connection:framing-error"


def test_name_of_a_link_again(peer, hub):
    peer.attach(0, hub, False, name="same")
    assert len(peer.attach(1, source(hub), True, name="same")) == 14  # the other direction is another link
    peer.attach(2, hub, False, name="same", answer=False)
    stolen = peer.receive(DETACH)[2]
    assert stolen[0] == 0 and condition_of(stolen) == "amqp:link:stolen"
    peer.transfer(2, 0, data(b"x"))
    assert peer.receive(DISPOSITION)[2][4].code == 0x24
