"""AMQP 1.0 frame by frame: what the SDKs do not show, and what no client should send."""
import os
import random
import struct
import time

import pytest
from eventhubs_fixtures import amqp_wire, make_hub, wait_until
from amqp_wire import (ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, OPEN, SASL, TRANSFER, AMQP, Closed, Described,
                       Peer, Symbol, UByte, UInt, ULong, UShort, data, encode, sections, selector, token)

BATCH = 0x80013700


@pytest.fixture(scope="module")
def hub(server):
    return make_hub(server, "protocol-hub", 2)


@pytest.fixture
def fresh(server, unique):
    return make_hub(server, unique("hub"), 1)


@pytest.fixture
def peer(server):
    with Peer(server.amqp) as one:
        one.open()
        yield one


def alive(server):
    with Peer(server.amqp) as one:
        one.open()


def source(hub, partition=0, group="$Default"):
    return f"{hub}/ConsumerGroups/{group}/Partitions/{partition}"


def condition_of(fields):
    return str(fields[-1].value[0])


def send_all(peer, hub, messages, handle=0, partition=0, format=0):
    peer.attach(handle, f"{hub}/Partitions/{partition}", False)
    peer.receive(FLOW)
    for number, message in enumerate(messages):
        peer.transfer(handle, number, message, format=format)
    accepted = set()
    while len(accepted) < len(messages):
        fields = peer.receive(DISPOSITION)[2]
        assert fields[3] is True and fields[4].code == 0x24, fields
        accepted.update(range(fields[1], (fields[2] if fields[2] is not None else fields[1]) + 1))
    return accepted


# ---- connection ----

def test_mechanisms_in_order(server):
    with Peer(server.amqp) as peer:
        assert peer.sasl("MSSBCBS") == 0
        assert peer.mechanisms == ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]


def test_plain(server):
    with Peer(server.amqp) as peer:
        assert peer.sasl("PLAIN", b"\0RootManageSharedAccessKey\0SAS_KEY_VALUE") == 0
    for wrong in (b"\0RootManageSharedAccessKey\0nonsense", b"", b"\0", b"x" * 3000):
        with Peer(server.amqp) as peer:
            assert peer.sasl("PLAIN", wrong) == 1
            with pytest.raises(Closed):
                peer.read(1)


def test_unknown_mechanism(server):
    with Peer(server.amqp) as peer:
        assert peer.sasl("SCRAM-SHA-256") == 1


def test_open_in_full(server):
    with Peer(server.amqp) as peer:
        opened = peer.open()
        assert len(opened) == 10
        assert (opened[1], opened[2], opened[3], opened[4]) == (None, 65536, 4999, 120000)
        peer.attach(0, "$cbs", False)


def test_everything_pipelined(server, hub):
    """Headers, open, begin, attach and the first transfers in one write, as clients do."""
    with Peer(server.amqp) as peer:
        out = []
        peer.send_raw, keep = out.append, peer.send_raw
        peer.send_raw(SASL)
        peer.send(0x41, [Symbol("ANONYMOUS")], kind=1)
        peer.send_raw(AMQP)
        peer.send(OPEN, ["pipelined"])
        peer.send(BEGIN, [None, UInt(0), UInt(10), UInt(10)], channel=3)
        peer.attach(1, hub, False, channel=3, answer=False)
        peer.transfer(1, 0, data(b"early"), channel=3)
        peer.send_raw = keep
        peer.send_raw(b"".join(out))
        assert peer.read(8) == SASL
        peer.receive(0x44)
        assert peer.read(8) == AMQP
        begun = peer.receive(BEGIN)
        assert begun[0] == 3 and begun[2][0] == 3
        assert peer.receive(DISPOSITION)[2][4].code == 0x24


def test_close_is_answered(peer):
    peer.send(CLOSE, [])
    assert peer.receive(CLOSE)[2] == [None]
    with pytest.raises(Closed):
        peer.read(1)


def test_tolerant_tear_down(peer, hub):
    """Detach after End, frames on ended channels: ignored, the connection goes on."""
    peer.attach(1, hub, False)
    peer.send(END, [])
    peer.receive(END)
    peer.send(DETACH, [UInt(1), True])
    peer.flow(1, 5)
    peer.transfer(1, 0, data(b"late"))
    peer.send(END, [])
    peer.begin(0)
    peer.attach(1, hub, False)
    peer.send(DETACH, [UInt(1), True])
    assert peer.receive(DETACH)[2] == [1, True, None]


def test_heartbeats(server):
    with Peer(server.amqp) as peer:
        assert peer.sasl() == 0
        peer.send(OPEN, ["idle", None, None, None, UInt(4000)])
        peer.receive(OPEN)
        peer.socket.settimeout(5)
        assert peer.read(8) == struct.pack(">IBBH", 8, 2, 0, 0)


# ---- hostile bytes ----

@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x00" * 64, b"\xff" * 64, os.urandom(200)])
def test_wrong_first_bytes(server, raw):
    with Peer(server.amqp) as peer:
        peer.send_raw(raw)
        got = b""
        with pytest.raises(Closed):
            while True:
                got += peer.read(1)
        assert got == SASL
    alive(server)


def frame(body, channel=0, kind=0, offset=2, size=None):
    return struct.pack(">IBBH", len(body) + 8 if size is None else size, offset, kind, channel) + body


@pytest.mark.parametrize("raw, condition", [
    (frame(b"", size=7), "amqp:connection:framing-error"),
    (frame(b"", offset=1), "amqp:connection:framing-error"),
    (frame(b"", offset=200), "amqp:connection:framing-error"),
    (frame(b"", size=1 << 20), "amqp:connection:framing-error"),
    (frame(b"", size=0xffffffff), "amqp:connection:framing-error"),
    (frame(b"\x00\x53\x11\xc0"), "amqp:decode-error"),
    (frame(b"\x40"), "amqp:decode-error"),
    (frame(b"\x00" * 5000), "amqp:decode-error"),
    (frame(b"\x00\x53\x11\x45"), "amqp:decode-error"),
    (frame(encode(Described(ULong(ATTACH), ["x"]))), "amqp:decode-error"),
    (frame(encode(Described(ULong(BEGIN), [None, UInt(0), UInt(1), UInt(1)]))), "amqp:not-allowed"),
    (frame(encode(Described(ULong(ATTACH), ["x", UInt(0), True])), channel=77), "amqp:not-allowed"),
    (frame(encode(Described(ULong(ATTACH), ["x", UInt(9999), True]))), "amqp:connection:framing-error"),
    (frame(encode(Described(ULong(0x99), []))), "amqp:not-implemented"),
    (frame(encode(Described(ULong(OPEN), ["again"]))), "amqp:decode-error"),
    (frame(encode(Described(ULong(0x40), [])), kind=1), "amqp:connection:framing-error"),
])
def test_broken_frames_close_with_a_condition(server, raw, condition):
    with Peer(server.amqp) as peer:
        peer.open()
        peer.send_raw(raw)
        assert condition_of(peer.receive(CLOSE)[2]) == condition
        with pytest.raises(Closed):
            peer.read(1)
    alive(server)


def test_truncated_streams(server, hub):
    """A connection cut after every byte of a good exchange leaves the server standing."""
    out = []
    with Peer(server.amqp) as peer:
        peer.send_raw = out.append
        peer.send_raw(SASL)
        peer.send(0x41, [Symbol("ANONYMOUS")], kind=1)
        peer.send_raw(AMQP)
        peer.send(OPEN, ["cut"])
        peer.send(BEGIN, [None, UInt(0), UInt(10), UInt(10)])
        peer.attach(0, hub, False, answer=False)
        peer.transfer(0, 0, data(b"cut"))
    whole = b"".join(out)
    for end in range(0, len(whole), 7):
        with Peer(server.amqp) as peer:
            peer.send_raw(whole[:end])
    alive(server)


def test_random_frames(server):
    chance = random.Random(7)
    good = [encode(Described(ULong(code), ["x", UInt(1), True, None, None, {}, [], b"y"])) for code in range(0x10, 0x19)]
    for _ in range(300):
        with Peer(server.amqp) as peer:
            peer.open()
            try:
                for _ in range(5):
                    body = bytearray(chance.choice(good) + chance.randbytes(chance.randrange(20)))
                    for _ in range(chance.randrange(6)):
                        body[chance.randrange(len(body))] = chance.randrange(256)
                    peer.send_raw(frame(bytes(body), channel=chance.choice([0, 0, 0, 1, 65535])))
            except OSError:
                pass
    alive(server)


def random_frame(chance, hub):
    """A performative that could be one of a client's, with handles and numbers of a few values: (code, fields, payload)."""
    handle, receiver = UInt(chance.randrange(4)), chance.random() < 0.5
    node = chance.choice([source(hub), "$cbs", "$management"] if receiver else [hub, f"{hub}/Partitions/0", "$cbs", "nowhere"])
    ends = [Described(ULong(0x28), [node if receiver else "near"]), Described(ULong(0x29), ["near" if receiver else node])]
    message = chance.choice([data(b"x" * chance.randrange(3000)), chance.randbytes(20), data(data(b"1")) + data(data(b"2")),
                             encode(Described(ULong(0x74), {"operation": "READ", "name": hub, "type": "com.microsoft:eventhub"}))])
    return chance.choice([
        (ATTACH, [f"l{chance.randrange(9)}", handle, receiver, UByte(chance.randrange(3)), None, *ends, None, None, UInt(0)], b""),
        (TRANSFER, [handle, UInt(chance.randrange(99)), b"t", UInt(chance.choice([0, BATCH])), chance.random() < 0.3,
                    chance.random() < 0.3, None, None, None, chance.random() < 0.1], message),
        (FLOW, [UInt(chance.randrange(5)), UInt(chance.choice([0, 1, 99, 0xffffffff])), UInt(0), UInt(9), handle, UInt(0),
                UInt(chance.choice([0, 1, 99, 0xffffffff])), None, chance.random() < 0.3, chance.random() < 0.3], b""),
        (DETACH, [handle, chance.random() < 0.8], b""),
        (DISPOSITION, [chance.random() < 0.5, UInt(0), UInt(3), True], b""),
        chance.choice([(END, [], b""), (BEGIN, [None, UInt(0), UInt(9), UInt(9)], b"")])])


def test_random_sequences(server, hub):
    """Well-formed performatives in any order."""
    chance = random.Random(11)
    for _ in range(100):
        with Peer(server.amqp) as peer:
            peer.open(frame_max=chance.choice([512, 65536]), window=chance.choice([0, 1, 5000]))
            try:
                for _ in range(60):
                    code, fields, payload = random_frame(chance, hub)
                    peer.send(code, fields, payload, channel=chance.choice([0, 0, 0, 1]))
            except OSError:
                pass
    alive(server)


# ---- tokens ----

def test_tokens(server, hub):
    for key, status, words in (("SAS_KEY_VALUE", 202, "Accepted"), ("wrong", 401, "InvalidSignature")):
        with Peer(server.amqp) as peer:
            peer.open()
            got = peer.put_token(token(f"sb://localhost/{hub}", key, "RootManageSharedAccessKey"))
            assert got[0] == status and words in got[1]
    with Peer(server.amqp) as peer:
        peer.open()
        assert peer.put_token(token("sb://localhost/x", "SAS_KEY_VALUE", "k", time.time() - 5))[0] == 401
    with Peer(server.amqp) as peer:
        peer.open()
        assert peer.put_token("SharedAccessSignature nonsense")[0] == 400


@pytest.fixture
def locked(start_server, tmp_path):
    settings = tmp_path / "weir.yaml"
    settings.write_text("amqp:\n  key_name: own\n  key: secret\n")
    server = start_server("--config", str(settings))
    make_hub(server, "locked", 1)
    make_hub(server, "other", 1)
    return server


def test_links_need_a_token_with_own_keys(locked):
    with Peer(locked.amqp) as peer:
        peer.open()
        attached, detached = peer.attach(0, "locked", False)
        assert attached[6] is None and condition_of(detached) == "amqp:unauthorized-access"
        _, detached = peer.attach(0, source("locked"), True)
        assert condition_of(detached) == "amqp:unauthorized-access"
        assert peer.put_token(token("sb://h/locked", "SAS_KEY_VALUE", "RootManageSharedAccessKey"))[0] == 401
        peer.begin(1)
        assert peer.put_token(token("sb://h/locked", "secret", "own"), channel=1)[0] == 202
        assert len(peer.attach(0, "locked", False)) != 2
        _, detached = peer.attach(1, "other", False)
        assert condition_of(detached) == "amqp:unauthorized-access"
    with Peer(locked.amqp) as peer:
        assert peer.sasl("PLAIN", b"\0own\0secret") == 0
        peer.send(OPEN, ["plain"])
        peer.receive(OPEN)
        peer.begin()
        assert len(peer.attach(0, "other", False)) != 2
    with Peer(locked.amqp) as peer:
        peer.send_raw(AMQP)  # without SASL, where access is not open
        assert peer.read(8) == SASL


# ---- links ----

@pytest.mark.parametrize("address, receiver, condition", [
    ("no-such-hub", False, "amqp:not-found"),
    ("no-such-hub/ConsumerGroups/$Default/Partitions/0", True, "amqp:not-found"),
    ("{hub}/Partitions/9", False, "com.microsoft:argument-out-of-range"),
    ("{hub}/ConsumerGroups/$Default/Partitions/9", True, "com.microsoft:argument-out-of-range"),
    ("{hub}/ConsumerGroups/$Default", True, "com.microsoft:argument-out-of-range"),
    ("{hub}", True, "amqp:not-found"),
    ("{hub}/Nonsense/0", False, "amqp:not-found"),
    ("__consumer_offsets", False, "amqp:not-found"),
    ("$nonsense", False, "amqp:not-found"),
    (None, False, "amqp:invalid-field"),
    (b"\xff\xfe", False, "amqp:not-found"),
])
def test_refused_links(peer, hub, address, receiver, condition):
    if isinstance(address, str):
        address = address.format(hub=hub)
    attached, detached = peer.attach(0, address, receiver)
    assert len(attached) == 14
    assert detached[1] is True and condition_of(detached) == condition
    assert "TrackingId:" in detached[2].value[1]
    assert len(peer.attach(0, hub, False)) == 14  # the handle is free, the session lives


def test_no_transactions(peer, hub):
    coordinator = Described(ULong(0x30), [[Symbol("amqp:local-transactions")]])
    near = Described(ULong(0x28), ["near"])
    peer.send(ATTACH, ["coordinator", UInt(0), False, None, None, near, coordinator, None, None, UInt(0)])
    assert peer.receive(ATTACH)[2][6] is None
    assert condition_of(peer.receive(DETACH)[2]) == "amqp:not-implemented"
    assert len(peer.attach(0, hub, False)) == 14


@pytest.mark.parametrize("form", ["{hub}", "/{hub}", "amqps://ns.example.net/{hub}", "sb://localhost:5672/{hub}/Partitions/1",
                                  "{hub}/publishers/p", "{hub}/partitions/0"])
def test_forms_of_addresses(peer, hub, form):
    address = form.format(hub=hub.upper() if "publishers" in form else hub)
    attached = peer.attach(0, address, False, properties={Symbol("com.microsoft:timeout"): UInt(5)})
    assert attached[2] is True and attached[6].value[0] == address
    assert (attached[3], attached[4], attached[10]) == (0, 0, 1 << 20)
    assert peer.receive(FLOW)[2][4:7] == [0, 0, 300]


def test_credit_violation(peer, hub):
    """Aborted deliveries use credit up too; so many in one write that it cannot be topped up in between."""
    peer.attach(0, "$cbs", False)
    out, keep = [], peer.send_raw
    peer.send_raw = out.append
    for number in range(2000):
        peer.transfer(0, number, b"x", more=True)
        peer.transfer(0, number, b"", first=False, aborted=True)
    peer.send_raw = keep
    peer.send_raw(b"".join(out))
    assert condition_of(peer.receive(DETACH)[2]) == "amqp:link:transfer-limit-exceeded"
    assert len(peer.attach(1, hub, False)) == 14


# ---- sending ----

def test_multi_frame_message(peer, fresh):
    body = os.urandom(200_000)
    message = data(body)
    peer.attach(0, f"{fresh}/Partitions/0", False)
    for start in range(0, len(message), 60_000):
        peer.transfer(0, 0, message[start:start + 60_000], more=start + 60_000 < len(message), first=start == 0)
    assert peer.receive(DISPOSITION)[2][4].code == 0x24
    peer.attach(1, source(fresh), True)
    peer.flow(1, 1)
    first, payload, frames = peer.message(1)
    assert sections(payload)[0x75] == body and frames == 4
    assert first[2] == b"" and first[4] is True and first[3] == 0


def test_delivery_ids_have_no_gaps(peer, fresh):
    """They count deliveries; one client gives up when they count frames."""
    peer.attach(0, f"{fresh}/Partitions/0", False)
    for number, size in enumerate((10, 150_000, 10, 70_000, 10)):
        message = data(os.urandom(size))
        for start in range(0, len(message), 60_000):
            peer.transfer(0, number, message[start:start + 60_000], more=start + 60_000 < len(message), first=start == 0)
    for handle in (1, 2):
        peer.attach(handle, source(fresh), True)
    for handle in (1, 2):
        peer.flow(handle, 5)
    ids = [peer.message()[0][1] for _ in range(10)]
    assert ids == list(range(ids[0], ids[0] + 10))


def test_aborted_message_is_forgotten(peer, fresh):
    peer.attach(0, f"{fresh}/Partitions/0", False)
    peer.transfer(0, 0, data(b"x" * 100)[:50], more=True)
    peer.transfer(0, 0, b"", first=False, aborted=True)
    peer.transfer(0, 1, data(b"kept"))
    assert peer.receive(DISPOSITION)[2][1] == 1
    peer.attach(1, source(fresh), True)
    peer.flow(1, 10)
    assert sections(peer.message(1)[1])[0x75] == b"kept"


def test_detach_in_the_middle_of_a_message(peer, fresh):
    """What was not whole is forgotten; the rest of its frames come too late for a link that has gone."""
    peer.attach(0, f"{fresh}/Partitions/0", False)
    peer.transfer(0, 0, data(b"x" * 100)[:50], more=True)
    peer.send(DETACH, [UInt(0), True])
    assert peer.receive(DETACH)[2] == [0, True, None]
    peer.transfer(0, 0, data(b"x" * 100)[50:], first=False)
    peer.attach(0, f"{fresh}/Partitions/0", False, name="again")
    peer.transfer(0, 1, data(b"kept"))
    assert peer.receive(DISPOSITION)[2][1] == 1
    peer.attach(1, source(fresh), True)
    peer.flow(1, 10)
    assert sections(peer.message(1)[1])[0x75] == b"kept"


def test_transfers_of_two_links_in_turn(peer, fresh):
    """Frames of two messages alternate; each message is whole."""
    for handle in (0, 1):
        peer.attach(handle, f"{fresh}/Partitions/0", False)
    messages = [data(bytes([65 + handle]) * 3000) for handle in (0, 1)]
    for start in range(0, len(messages[0]), 500):
        for handle in (0, 1):
            peer.transfer(handle, handle, messages[handle][start:start + 500], more=start + 500 < len(messages[0]),
                          first=start == 0)
    peer.attach(2, source(fresh), True)
    peer.flow(2, 10)
    assert {sections(peer.message(2)[1])[0x75] for _ in range(2)} == {b"A" * 3000, b"B" * 3000}


def test_settled_transfers_get_no_answer(peer, fresh):
    peer.attach(0, f"{fresh}/Partitions/0", False)
    for number in range(10):
        peer.transfer(0, number, data(b"%d" % number), settled=True)
    peer.attach(1, source(fresh), True, name="reader")
    peer.flow(1, 10)
    assert [sections(peer.message(1)[1])[0x75] for _ in range(10)] == [b"%d" % number for number in range(10)]


def test_credit_is_topped_up(peer, fresh):
    """2,000 unsettled events through one link: credit keeps coming and every one is accepted."""
    peer.attach(0, f"{fresh}/Partitions/0", False)
    credit, sent, accepted = 0, 0, 0
    while accepted < 2000:
        while credit > 0 and sent < 2000:
            peer.transfer(0, sent, data(b"%d" % sent))
            sent, credit = sent + 1, credit - 1
        code, fields = peer.receive()[1:3]
        if code == FLOW:
            credit = fields[5] + fields[6] - sent
        elif code == DISPOSITION:
            accepted += fields[2] - fields[1] + 1


def test_too_large_rejects_then_detaches(peer, fresh):
    peer.attach(0, f"{fresh}/Partitions/0", False)
    for number in range(19):
        peer.transfer(0, 0, b"x" * 60_000 if number else data(b"")[:-5] + b"\xb0\x00\x20\x00\x00", more=True,
                      first=number == 0)
    rejected = peer.receive(DISPOSITION)[2]
    assert rejected[4].code == 0x25 and str(rejected[4].value[0].value[0]) == "amqp:link:message-size-exceeded"
    assert condition_of(peer.receive(DETACH)[2]) == "amqp:link:message-size-exceeded"
    assert len(peer.attach(5, fresh, False)) == 14


@pytest.mark.parametrize("message, format", [
    (b"\xff\xff", 0), (b"", BATCH), (encode(Described(ULong(0x77), "value")), BATCH), (data(b"\xff\xff"), BATCH),
    (encode(Described(ULong(0x74), {5: 6})), 0), (data(b"x") + data(b"y")[:4], 0)])
def test_bad_messages_are_rejected(peer, fresh, message, format):
    peer.attach(0, f"{fresh}/Partitions/0", False)
    peer.transfer(0, 0, message, format=format)
    rejected = peer.receive(DISPOSITION)[2]
    if message == b"" and rejected[4].code == 0x24:
        return
    assert rejected[3] is True and rejected[4].code == 0x25, rejected
    peer.transfer(0, 1, data(b"fine"))
    assert peer.receive(DISPOSITION)[2][4].code == 0x24


def test_batch_with_envelope_key(peer, server, unique):
    hub = make_hub(server, unique("keys"), 4)
    envelope = encode(Described(ULong(0x72), {Symbol("x-opt-partition-key"): "7"}))
    batch = envelope + b"".join(data(data(b"%d" % number, properties={"n": number})) for number in range(3))
    peer.attach(0, hub, False)
    peer.transfer(0, 0, batch, format=BATCH)
    assert peer.receive(DISPOSITION)[2][4].code == 0x24
    peer.attach(1, source(hub, 3), True)
    peer.flow(1, 10)
    for number in range(3):
        found = sections(peer.message(1)[1])
        assert found[0x75] == b"%d" % number
        assert found[0x74] == {"n": number}
        assert found[0x72]["x-opt-partition-key"] == "7"
        assert found[0x72]["x-opt-sequence-number"] == number
        assert found[0x72]["x-opt-offset"] == str(number)


def test_publisher_stamps_its_name(peer, fresh):
    peer.attach(0, f"{fresh}/Publishers/dev1", False)
    peer.transfer(0, 0, data(b"x"))
    assert peer.receive(DISPOSITION)[2][4].code == 0x24
    peer.transfer(0, 1, data(b"x", {"x-opt-partition-key": "other"}))
    assert peer.receive(DISPOSITION)[2][4].code == 0x25
    peer.attach(1, source(fresh), True)
    peer.flow(1, 1)
    annotations = sections(peer.message(1)[1])[0x72]
    assert annotations["x-opt-publisher"] == annotations["x-opt-partition-key"] == "dev1"


def test_exactly_the_limit(peer, fresh):
    """A message of 1 MiB, and a batch of 1 MiB made of tiny events, whose records are larger than that."""
    whole = data(b"x" * ((1 << 20) - len(data(b""))))
    tiny = data(data(b"t"))
    many = tiny * ((1 << 20) // len(tiny))
    peer.attach(0, f"{fresh}/Partitions/0", False)
    for number, message in enumerate((whole, many)):
        for start in range(0, len(message), 60_000):
            peer.transfer(0, number, message[start:start + 60_000], more=start + 60_000 < len(message), first=start == 0,
                          format=BATCH if number else 0)
        answer = peer.receive(DISPOSITION)[2]
        assert answer[1] == number and answer[4].code == 0x24, answer


# ---- receiving ----

def test_attach_answer_and_annotation_bytes(peer, fresh):
    send_all(peer, fresh, [data(b"x")])
    wanted = Symbol("com.microsoft:enable-receiver-runtime-metric")
    attached = peer.attach(1, source(fresh), True, filters=selector("amqp.annotation.x-opt-offset > '-1'"), desired=wanted)
    assert len(attached) == 14
    assert attached[3] == 1 and attached[9] == 0 and attached[11] == wanted
    assert attached[5].value[0] == source(fresh)
    peer.flow(1, 1)
    found = sections(peer.message(1)[1])
    assert set(found[0x71]) == {"last_enqueued_sequence_number", "last_enqueued_offset", "last_enqueued_time_utc",
                                "runtime_info_retrieval_time_utc"}
    assert found[0x71]["last_enqueued_sequence_number"] == 0
    assert list(found[0x72])[:4] == ["x-opt-sequence-number-epoch", "x-opt-sequence-number", "x-opt-offset",
                                     "x-opt-enqueued-time"]


def test_credit_is_obeyed(peer, fresh):
    send_all(peer, fresh, [data(b"%d" % number) for number in range(20)])
    peer.attach(1, source(fresh), True)
    peer.flow(1, 3)
    for number in range(3):
        assert sections(peer.message(1)[1])[0x75] == b"%d" % number
    peer.flow(1, 0, count=3, echo=True)
    assert peer.receive()[1] == FLOW  # no event came before the answer
    peer.flow(1, 5, count=3)
    for number in range(3, 8):
        assert sections(peer.message(1)[1])[0x75] == b"%d" % number


def test_session_window_is_obeyed(server, fresh):
    with Peer(server.amqp) as peer:
        peer.open(window=2)
        send_all(peer, fresh, [data(b"%d" % number) for number in range(6)])
        peer.attach(1, source(fresh), True)
        peer.flow(1, 100, window=2)
        assert [sections(peer.message(1)[1])[0x75] for _ in range(2)] == [b"0", b"1"]
        peer.send(FLOW, [UInt(3), UInt(0), UInt(0), UInt(5000), None, None, None, None, False, True])
        assert peer.receive()[1] == FLOW
        peer.send(FLOW, [UInt(3), UInt(4), UInt(0), UInt(5000)])
        assert [sections(peer.message(1)[1])[0x75] for _ in range(4)] == [b"2", b"3", b"4", b"5"]


def test_drain(peer, fresh):
    send_all(peer, fresh, [data(b"only")])
    peer.attach(1, source(fresh), True)
    peer.flow(1, 10, drain=True)
    assert sections(peer.message(1)[1])[0x75] == b"only"
    fields = peer.receive(FLOW)[2]
    assert fields[4:7] == [1, 10, 0]
    # Drain of a receiver that waits.
    peer.flow(1, 5, count=10)
    peer.flow(1, 5, count=10, drain=True)
    assert peer.receive(FLOW)[2][4:7] == [1, 15, 0]
    send_all(peer, fresh, [data(b"later")], handle=2)
    peer.flow(1, 1, count=15)
    assert sections(peer.message(1)[1])[0x75] == b"later"


def test_drain_without_credit(peer, fresh):
    """One client drains with a credit of zero and waits for the flag."""
    send_all(peer, fresh, [data(b"%d" % number) for number in range(3)])
    for handle, address in ((1, source(fresh)), (2, "$management")):
        peer.attach(handle, address, True)
        peer.flow(handle, 0, drain=True)
        fields = peer.receive(FLOW)[2]
        assert (fields[4], fields[6], fields[8]) == (handle, 0, True)
    peer.flow(1, 2)
    assert [sections(peer.message(1)[1])[0x75] for _ in range(2)] == [b"0", b"1"]
    peer.flow(1, 0, count=2, drain=True)
    fields = peer.receive(FLOW)[2]
    assert (fields[4:7], fields[8]) == ([1, 2, 0], True)


@pytest.mark.parametrize("settle", [0, 1, 2])
def test_settle_modes(peer, fresh, settle):
    """A sender's own word stands; events come settled, answers as asked for."""
    for handle, address in ((1, fresh), (2, "$cbs"), (3, "$management")):
        assert peer.attach(handle, address, False, settle=settle)[3] == settle
    peer.transfer(1, 0, data(b"x"), settled=settle == 1)
    if settle != 1:
        assert peer.receive(DISPOSITION)[2][4].code == 0x24
    assert peer.attach(4, source(fresh), True, settle=settle)[3] == 1
    answers = 1 if settle == 1 else 0
    assert peer.attach(5, "$management", True, reply="answers", settle=settle)[3] == answers
    peer.flow(4, 1)
    assert peer.message(4)[0][4] is True
    peer.flow(5, 1)
    peer.transfer(3, 1, encode(Described(ULong(0x74), {"operation": "READ", "name": fresh})))
    assert peer.message(5)[0][4] is bool(answers)


def test_small_frames(server, fresh):
    body = os.urandom(5000)
    with Peer(server.amqp) as peer:
        peer.open(frame_max=512)
        send_all(peer, fresh, [data(body)])
        peer.attach(1, source(fresh), True)
        peer.flow(1, 1)
        _, payload, frames = peer.message(1)
        assert sections(payload)[0x75] == body and frames >= 10


def test_live_delivery_is_prompt(peer, fresh):
    peer.attach(1, source(fresh), True, filters=selector("amqp.annotation.x-opt-offset > '@latest'"))
    peer.flow(1, 100)
    peer.attach(0, f"{fresh}/Partitions/0", False)
    spent = []
    for number in range(20):
        start = time.monotonic()
        peer.transfer(0, number, data(b"now"))
        peer.message(1)
        spent.append(time.monotonic() - start)
    assert sorted(spent)[10] < 0.25


@pytest.mark.parametrize("text, first", [
    ("amqp.annotation.x-opt-offset > '-1'", 0), ("amqp.annotation.x-opt-offset >= 2", 2),
    ("amqp.annotation.x-opt-offset >'2'", 3), ("amqp.annotation.x-opt-sequence-number > '3'", 4),
    ("amqp.annotation.x-opt-sequence-number >= '0'", 0), ("amqp.annotation.x-opt-enqueued-time > '0'", 0),
    ("amqp.annotation.x-opt-offset >= '@latest'", 4), (None, 0)])
def test_filters(peer, fresh, text, first):
    send_all(peer, fresh, [data(b"%d" % number) for number in range(5)])
    peer.attach(1, source(fresh), True, filters=selector(text) if text else None)
    peer.flow(1, 1)
    assert sections(peer.message(1)[1])[0x75] == b"%d" % first


@pytest.mark.parametrize("text, words", [
    ("amqp.annotation.x-opt-offset > '99'", "The supplied offset '99' is invalid. The last offset in the system is '-1'"),
    ("amqp.annotation.x-opt-sequence-number > '5'", "The supplied sequence number '5' is invalid."),
    ("nonsense", "filter")])
def test_refused_positions(peer, fresh, text, words):
    _, detached = peer.attach(1, source(fresh), True, filters=selector(text))
    assert condition_of(detached) == "com.microsoft:argument-error" and words in detached[2].value[1]


# ---- epochs ----

EPOCH = Symbol("com.microsoft:epoch")
NAME = Symbol("com.microsoft:receiver-name")


def test_epochs(server, fresh):
    """Across connections, which live on any shard."""
    peers = [Peer(server.amqp) for _ in range(6)]
    try:
        for one in peers:
            one.open()
        plain, low, high, equal, late, other = peers
        assert len(plain.attach(0, source(fresh), True)) == 14
        assert len(low.attach(0, source(fresh), True, {EPOCH: 1, NAME: "low"})) == 14
        assert condition_of(plain.receive(DETACH)[2]) == "amqp:link:stolen"
        assert len(high.attach(0, source(fresh), True, {EPOCH: 5, NAME: "high"})) == 14
        stolen = low.receive(DETACH)[2]
        assert condition_of(stolen) == "amqp:link:stolen"
        assert "New receiver 'high' with higher epoch of '5' is created hence current receiver 'low' with epoch '1'" in (
            stolen[2].value[1])
        _, refused = late.attach(0, source(fresh), True, {EPOCH: 4})
        assert condition_of(refused) == "amqp:link:stolen"
        assert "Receiver 'high' with a higher epoch '5' already exists. Receiver 'nil' with epoch 4 cannot" in (
            refused[2].value[1])  # a client's own tests compare it
        _, refused = late.attach(0, source(fresh), True)
        assert condition_of(refused) == "amqp:link:stolen"
        assert len(equal.attach(0, source(fresh), True, {EPOCH: 5})) == 14
        assert condition_of(high.receive(DETACH)[2]) == "amqp:link:stolen"
        assert len(other.attach(0, source(fresh, group="another"), True)) == 14
        # No memory of epochs that have gone.
        equal.send(DETACH, [UInt(0), True])
        equal.receive(DETACH)
        wait_until(lambda: len(late.attach(0, source(fresh), True)) == 14)
    finally:
        for one in peers:
            one.close()


def test_sixth_receiver_is_refused(peer, fresh):
    for handle in range(5):
        assert len(peer.attach(handle, source(fresh), True)) == 14
    _, refused = peer.attach(5, source(fresh), True)
    assert condition_of(refused) == "amqp:resource-limit-exceeded" and "which is 5" in refused[2].value[1]


# ---- management ----

def manage(peer, handle, properties, body=b"", message_id="m"):
    request = encode(Described(ULong(0x73), [message_id, None, None, None, "answers"]))
    request += encode(Described(ULong(0x74), properties)) + body
    peer.transfer(handle, manage.number, request)
    manage.number += 1
    found = sections(peer.message(101)[1])
    assert found[0x73][5] == message_id
    return found[0x74], found.get(0x77)


manage.number = 0


@pytest.mark.parametrize("node", ["$management", "{hub}/$management"])
def test_management(peer, hub, node):
    manage.number = 0
    peer.attach(100, node.format(hub=hub), False)
    peer.attach(101, node.format(hub=hub), True, reply="answers")
    peer.flow(101, 100)
    read = {"operation": "READ", "name": hub, "type": "com.microsoft:eventhub"}
    status, body = manage(peer, 100, read, data(b"[]"), ULong(77))
    assert status["status-code"] == 200
    assert (body["name"], body["partition_count"], body["partition_ids"]) == (hub, 2, ["0", "1"])
    assert body["type"] == "com.microsoft:eventhub" and body["georeplication_factor"] == 1
    partition = {**read, "type": "com.microsoft:partition", "partition": "1"}
    status, body = manage(peer, 100, partition)
    assert status["status-code"] == 200 and body["partition"] == "1" and isinstance(body["last_enqueued_offset"], str)
    assert manage(peer, 100, {**partition, "partition": "2"})[0]["status-code"] == 400
    status, _ = manage(peer, 100, {**read, "name": "nowhere"})
    assert status["status-code"] == 404 and "could not be found" in status["status-description"]
    assert manage(peer, 100, {**read, "operation": "WRITE"})[0]["status-code"] == 400
    assert manage(peer, 100, {**read, "type": "other"})[0]["status-code"] == 400
    peer.transfer(100, manage.number, b"\xff")
    assert peer.receive(DISPOSITION)[2][4] is not None


def test_deleted_hub_ends_its_links(server, peer, unique):
    from kafka.admin import KafkaAdminClient
    hub = make_hub(server, unique("gone"), 1)
    peer.attach(0, f"{hub}/Partitions/0", False)
    peer.attach(1, source(hub), True)
    peer.flow(1, 10)
    admin = KafkaAdminClient(bootstrap_servers=server.kafka)
    admin.delete_topics([hub])
    admin.close()
    peer.transfer(0, 0, data(b"x"))
    gone = {peer.receive(DETACH)[2][0] for _ in range(2)}
    assert gone == {0, 1}
