"""A small AMQP 1.0 peer for tests that need exact frames: raw values, performatives, and a blocking socket.

Values are Python objects; wrap a number or text in a class below where its AMQP type matters.
"""
import base64
import hashlib
import hmac
import socket
import struct
import time
import urllib.parse

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL = b"AMQP\x03\x01\x00\x00"
AMQP = b"AMQP\x00\x01\x00\x00"


class Symbol(str):
    pass


class UInt(int):
    pass


class UShort(int):
    pass


class UByte(int):
    pass


class ULong(int):
    pass


class Int(int):
    pass


class Timestamp(int):
    pass


class Described:
    def __init__(self, code, value):
        self.code, self.value = code, value

    def __eq__(self, other):
        return isinstance(other, Described) and (self.code, self.value) == (other.code, other.value)

    def __repr__(self):
        return f"Described({self.code!r}, {self.value!r})"


def encode(value):
    """Bytes of one value; plain int is long, str is string."""
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, Described):
        return b"\x00" + encode(value.code) + encode(value.value)
    for kind, code, form in ((UInt, 0x70, ">I"), (UShort, 0x60, ">H"), (UByte, 0x50, ">B"), (ULong, 0x80, ">Q"),
                             (Int, 0x71, ">i"), (Timestamp, 0x83, ">q")):
        if isinstance(value, kind):
            return bytes([code]) + struct.pack(form, value)
    if isinstance(value, int):
        return b"\x81" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, bytes):
        return b"\xb0" + struct.pack(">I", len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return (b"\xb3" if isinstance(value, Symbol) else b"\xb1") + struct.pack(">I", len(raw)) + raw
    if isinstance(value, (list, tuple)):
        body = b"".join(map(encode, value))
        return b"\xd0" + struct.pack(">II", len(body) + 4, len(value)) + body
    if isinstance(value, dict):
        body = b"".join(encode(key) + encode(item) for key, item in value.items())
        return b"\xd1" + struct.pack(">II", len(body) + 4, 2 * len(value)) + body
    raise TypeError(value)


FIXED = {0x40: None, 0x41: True, 0x42: False, 0x43: UInt(0), 0x44: ULong(0), 0x45: []}
NUMBERS = {0x50: (">B", UByte), 0x51: (">b", int), 0x52: (">B", UInt), 0x53: (">B", ULong), 0x54: (">b", Int),
           0x55: (">b", int), 0x56: (">B", bool), 0x60: (">H", UShort), 0x61: (">h", int), 0x70: (">I", UInt),
           0x71: (">i", Int), 0x72: (">f", float), 0x80: (">Q", ULong), 0x81: (">q", int), 0x82: (">d", float),
           0x83: (">q", Timestamp)}


def decode(raw, at=0, code=None):
    """(value, position behind it)."""
    if code is None:
        code, at = raw[at], at + 1
    if code == 0:
        descriptor, at = decode(raw, at)
        value, at = decode(raw, at)
        return Described(int(descriptor) if isinstance(descriptor, int) else descriptor, value), at
    if code in FIXED:
        return FIXED[code], at
    if code in NUMBERS:
        form, kind = NUMBERS[code]
        size = struct.calcsize(form)
        return kind(struct.unpack_from(form, raw, at)[0]), at + size
    if code == 0x98:
        return raw[at:at + 16], at + 16
    wide = code & 0x10
    size = struct.unpack_from(">I", raw, at)[0] if wide else raw[at]
    at += 4 if wide else 1
    body = raw[at:at + size]
    end = at + size
    if code in (0xa0, 0xb0):
        return bytes(body), end
    if code in (0xa1, 0xb1):
        return body.decode(), end
    if code in (0xa3, 0xb3):
        return Symbol(body.decode()), end
    count = struct.unpack_from(">I", body)[0] if wide else body[0]
    position = 4 if wide else 1
    items, element = [], None
    if code in (0xe0, 0xf0):
        element, position = body[position], position + 1
    for _ in range(count):
        item, position = decode(body, position, element)
        items.append(item)
    if code in (0xc1, 0xd1):
        return dict(zip(items[::2], items[1::2])), end
    return items, end


def sections(message):
    """Sections of a message as {code: value}; several Data sections are joined in a list."""
    at, found = 0, {}
    while at < len(message):
        section, at = decode(message, at)
        if section.code == 0x75 and 0x75 in found:
            found[0x75] = (found[0x75] if isinstance(found[0x75], list) else [found[0x75]]) + [section.value]
        else:
            found[section.code] = section.value
    return found


def data(body, annotations=None, properties=None):
    """An event with one Data section."""
    out = b""
    if annotations:
        out += encode(Described(ULong(0x72), {Symbol(key): value for key, value in annotations.items()}))
    if properties:
        out += encode(Described(ULong(0x74), properties))
    return out + encode(Described(ULong(0x75), body))


def token(resource, key, name, expires=None):
    encoded = urllib.parse.quote(resource, safe="")
    expires = int(expires if expires is not None else time.time() + 3600)
    digest = hmac.new(key.encode(), f"{encoded}\n{expires}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expires}&skn={urllib.parse.quote(name)}"


class Closed(Exception):
    pass


class Peer:
    """One connection. Frames are (channel, code, fields, payload)."""

    def __init__(self, address, timeout=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_raw(self, raw):
        self.socket.sendall(raw)

    def read(self, count):
        while len(self.buffer) < count:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError as error:
                raise Closed from error
            if not more:
                raise Closed
            self.buffer += more
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def send(self, code, fields, payload=b"", channel=0, kind=0):
        body = encode(Described(ULong(code), fields)) + payload
        self.send_raw(struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body)

    def receive(self, want=None):
        """The next frame that is no heartbeat; with want, frames of other codes are dropped."""
        while True:
            size, offset, _, channel = struct.unpack(">IBBH", self.read(8))
            body = self.read(size - 8)[4 * offset - 8:]
            if not body:
                continue
            performative, at = decode(body)
            if want is None or performative.code == want:
                return channel, performative.code, performative.value, body[at:]

    def sasl(self, mechanism="ANONYMOUS", response=None):
        """The whole SASL exchange; the outcome's code."""
        self.send_raw(SASL)
        assert self.read(8) == SASL
        self.mechanisms = self.receive(0x40)[2][0]
        self.send(0x41, [Symbol(mechanism), response, "host"], kind=1)
        outcome = self.receive(0x44)[2]
        if outcome[0] == 0:
            self.send_raw(AMQP)
            assert self.read(8) == AMQP
        return outcome[0]

    def open(self, frame_max=65536, window=5000, channel=0):
        assert self.sasl() == 0
        self.send(OPEN, ["test", "localhost", UInt(frame_max), UShort(100)])
        opened = self.receive(OPEN)[2]
        self.begin(channel, window)
        return opened

    def begin(self, channel=0, window=5000):
        self.send(BEGIN, [None, UInt(0), UInt(window), UInt(5000), UInt(255)], channel=channel)
        return self.receive(BEGIN)[2]

    def attach(self, handle, address, receiver, properties=None, filters=None, desired=None, reply=None, channel=0,
               name=None, answer=True, settle=0):
        """Attaches and returns the server's attach; a refusal is (attach, detach)."""
        far = Described(ULong(0x28 if receiver else 0x29),
                        [address, None, None, None, None, None, None, filters] if receiver else [address])
        near = Described(ULong(0x29 if receiver else 0x28), [reply or f"near-{handle}"])
        self.send(ATTACH, [name or f"link-{handle}", UInt(handle), receiver, UByte(settle), UByte(0),
                           far if receiver else near, near if receiver else far, None, None,
                           None if receiver else UInt(0), None, None, desired, properties], channel=channel)
        if not answer:
            return None
        attached = self.receive(ATTACH)[2]
        if attached[5 if receiver else 6] is None:
            return attached, self.receive(DETACH)[2]
        return attached

    def flow(self, handle, credit, count=0, next_incoming=1, window=5000, drain=False, echo=False, channel=0):
        self.send(FLOW, [UInt(next_incoming), UInt(window), UInt(0), UInt(5000), UInt(handle), UInt(count),
                         UInt(credit), None, drain, echo], channel=channel)

    def transfer(self, handle, number, message, settled=False, format=0, more=False, first=True, channel=0,
                 aborted=False):
        self.send(TRANSFER, [UInt(handle), UInt(number) if first else None,
                             struct.pack(">I", number) if first else None, UInt(format) if first else None, settled,
                             more, None, None, None, aborted], message, channel=channel)

    def message(self, want_handle=None):
        """The next whole delivery: (fields of its first frame, payload, number of frames)."""
        first, payload, frames = None, b"", 0
        while True:
            fields, part = self.receive(TRANSFER)[2:]
            if want_handle is not None and fields[0] != want_handle:
                continue
            first = first or fields
            payload += part
            frames += 1
            if not fields[5]:
                return first, payload, frames

    def put_token(self, text, name="sb://localhost/hub", channel=0, handles=(200, 201)):
        """Status code and description."""
        self.attach(handles[0], "$cbs", False, channel=channel)
        self.attach(handles[1], "$cbs", True, channel=channel, reply="cbs-reply")
        self.flow(handles[1], 10, channel=channel)
        request = encode(Described(ULong(0x73), ["id-1", None, None, None, "cbs-reply"]))
        request += encode(Described(ULong(0x74), {"operation": "put-token", "type": "servicebus.windows.net:sastoken",
                                                  "name": name}))
        request += encode(Described(ULong(0x77), text))
        self.transfer(handles[0], 0, request, channel=channel)
        found = sections(self.message(handles[1])[1])
        assert found[0x73][5] == "id-1"
        return int(found[0x74]["status-code"]), found[0x74]["status-description"]


def selector(text):
    """A source filter."""
    key = Symbol("apache.org:selector-filter:string")
    return {key: Described(ULong(0x0000468C00000004), text)}
