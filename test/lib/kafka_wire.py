"""A Kafka client of raw frames for tests: any API at any version, well-formed or not.

Messages are dicts keyed by the names of defs/kafka/*.json; absent fields take their defaults.
"""
import json
import pathlib
import socket
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import gen_wire  # noqa: E402

APIS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "defs/kafka").glob("*.json")}
MESSAGES = {(name, kind): gen_wire.Message(api, kind, name)
            for name, api in APIS.items() for kind in ("request", "response")}
FORMATS = {"int8": ">b", "int16": ">h", "int32": ">i", "int64": ">q", "float64": ">d"}


class Closed(Exception):
    """The server closed the connection."""


def holds(span, version):
    return span is not None and span[0] <= version <= span[1]


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value):
    return uvarint((value << 1) ^ (value >> 63) if value >= 0 else ((-value << 1) - 1))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "answer is shorter than its fields"
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, format):
        return struct.unpack(format, self.take(struct.calcsize(format)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                return value
            shift += 7


def default(field):
    if field.is_array:
        return None if field.default == "null" else []
    if field.struct:
        return {inner.name: default(inner) for inner in field.struct.fields}
    if field.default == "null":
        return None
    return {"string": "", "bytes": b"", "records": b"", "uuid": bytes(16), "bool": field.default == "true"}.get(
        field.type, int(field.default or 0) if field.type.startswith("int") else None)


def encode_length(out, length, flexible, short):
    if flexible:
        out += uvarint(0 if length is None else length + 1)
    else:
        out += struct.pack(">h" if short else ">i", -1 if length is None else length)


def encode_value(out, field, value, version, flexible):
    if field.struct:
        encode_struct(out, field.struct, value, version, flexible)
    elif field.type in ("string", "bytes", "records"):
        data = value.encode() if isinstance(value, str) else value
        encode_length(out, None if data is None else len(data), flexible, field.type == "string")
        out += data or b""
    elif field.type == "uuid":
        out += value
    elif field.type == "bool":
        out.append(bool(value))
    else:
        out += struct.pack(FORMATS[field.type], value)


def encode_field(out, field, value, version, flexible):
    if not field.is_array:
        return encode_value(out, field, value, version, flexible)
    encode_length(out, None if value is None else len(value), flexible, False)
    for item in value or []:
        encode_value(out, field, item, version, flexible)


def encode_struct(out, layout, values, version, flexible):
    unknown = set(values) - {field.name for field in layout.fields}
    assert not unknown, f"no such fields: {unknown}"
    tagged = []
    for field in layout.fields:
        if not holds(field.versions, version):
            continue
        value = values.get(field.name, default(field))
        if holds(field.tagged, version):
            if value != default(field):
                payload = bytearray()
                encode_field(payload, field, value, version, flexible)
                tagged.append((field.tag, bytes(payload)))
        else:
            encode_field(out, field, value, version, flexible)
    if flexible:
        out += uvarint(len(tagged))
        for tag, payload in sorted(tagged):
            out += uvarint(tag) + uvarint(len(payload)) + payload


def decode_value(reader, field, version, flexible):
    if field.struct:
        return decode_struct(reader, field.struct, version, flexible)
    if field.type in ("string", "bytes", "records"):
        length = reader.uvarint() - 1 if flexible else reader.number(">h" if field.type == "string" else ">i")
        if length < 0:
            assert holds(field.null, version), f"{field.name} is null where it may not be"
            return None
        data = reader.take(length)
        return data.decode() if field.type == "string" else data
    if field.type == "uuid":
        return reader.take(16)
    if field.type == "bool":
        return reader.take(1) != b"\0"
    return reader.number(FORMATS[field.type])


def decode_field(reader, field, version, flexible):
    if not field.is_array:
        return decode_value(reader, field, version, flexible)
    count = reader.uvarint() - 1 if flexible else reader.number(">i")
    if count < 0:
        assert holds(field.null, version), f"{field.name} is null where it may not be"
        return None
    return [decode_value(reader, field, version, flexible) for _ in range(count)]


def decode_struct(reader, layout, version, flexible):
    values = {field.name: default(field) for field in layout.fields if holds(field.versions, version)}
    for field in layout.fields:
        if holds(field.versions, version) and not holds(field.tagged, version):
            values[field.name] = decode_field(reader, field, version, flexible)
    if flexible:
        tags = {field.tag: field for field in layout.fields if holds(field.tagged, version)}
        for _ in range(reader.uvarint()):
            tag = reader.uvarint()
            payload = Reader(reader.take(reader.uvarint()))
            if tag in tags:
                values[tags[tag].name] = decode_field(payload, tags[tag], version, flexible)
    return values


class Connection:
    """One TCP connection. send and receive are separate, so that requests can be pipelined."""

    def __init__(self, address, client_id="weir-test", timeout=15):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client_id, self.correlation = client_id, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, name, version, values=None, key=None, body=None):
        """The bytes of one request with its length; the correlation id is counted up."""
        api, message = APIS[name], MESSAGES[name, "request"]
        flexible = holds(message.flexible, version)
        self.correlation += 1
        out = bytearray(struct.pack(">hhih", api["key"] if key is None else key, version, self.correlation,
                                    len(self.client_id)) + self.client_id.encode())
        if flexible:
            out += b"\0"
        if body is None:
            encode_struct(out, message.root, values or {}, version, flexible)
        else:
            out += body
        return struct.pack(">i", len(out)) + bytes(out)

    def send(self, name, version, values=None):
        self.socket.sendall(self.request(name, version, values))
        return self.correlation

    def frame(self):
        """The next answer's bytes without their length."""
        def exactly(count):
            data = bytearray()
            while len(data) < count:
                try:
                    part = self.socket.recv(count - len(data))
                except ConnectionResetError:
                    part = b""
                if not part:
                    raise Closed()
                data += part
            return bytes(data)
        return exactly(struct.unpack(">i", exactly(4))[0])

    def receive(self, name, version, correlation=None):
        reader = Reader(self.frame())
        got = reader.number(">i")
        assert got == (self.correlation if correlation is None else correlation), "answers are out of order"
        message = MESSAGES[name, "response"]
        flexible = holds(message.flexible, version)
        if flexible and name != "api_versions":
            assert reader.uvarint() == 0
        values = decode_struct(reader, message.root, version, flexible)
        assert reader.at == len(reader.data), "answer is longer than its fields"
        return values

    def call(self, name, version, values=None):
        self.send(name, version, values)
        return self.receive(name, version)

    def is_closed(self):
        """True once the server has closed; waits for it."""
        try:
            self.frame()
        except Closed:
            return True
        return False


# ---- record batches ----

CRC_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    CRC_TABLE.append(_byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def record(delta, key, value, timestamp_delta=0, headers=()):
    body = bytearray(b"\0") + varint(timestamp_delta) + varint(delta)
    for data in (key, value):
        body += varint(-1) if data is None else varint(len(data)) + data
    body += varint(len(headers))
    for name, data in headers:
        body += varint(len(name)) + name + (varint(-1) if data is None else varint(len(data)) + data)
    return varint(len(body)) + bytes(body)


def batch(values, keys=None, timestamp=1_700_000_000_000, attributes=0, producer=(-1, -1, -1), base_offset=0,
          magic=2, count=None, last_delta=None, payload=None, crc=None, compress=None, timestamps=None):
    """One batch of format 2; every header field can be made wrong."""
    keys = keys or [None] * len(values)
    times = timestamps or [timestamp] * len(values)
    if payload is None:
        payload = b"".join(record(i, keys[i], value, times[i] - timestamp) for i, value in enumerate(values))
    if compress:
        payload = compress(payload)
    tail = struct.pack(">hiqqqhii", attributes, len(values) - 1 if last_delta is None else last_delta, timestamp,
                       max(times, default=timestamp), *producer, len(values) if count is None else count) + payload
    head = struct.pack(">ibI", -1, magic, crc32c(tail) if crc is None else crc)
    return struct.pack(">qi", base_offset, len(head) + len(tail)) + head + tail


def batches(data):
    """(base offset, last offset, attributes, count, records) of each batch; a partial one at the end is left out."""
    at = 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            break
        attributes, last = struct.unpack_from(">hi", data, at + 21)
        yield base, base + last, attributes, struct.unpack_from(">i", data, at + 57)[0], data[at + 61:at + 12 + length]
        at += 12 + length


def values(data):
    """(offset, key, value) of every record of uncompressed batches."""
    out = []
    for base, _, attributes, count, payload in batches(data):
        assert attributes & 7 == 0
        reader = Reader(payload)

        def signed():
            raw = reader.uvarint()
            return raw >> 1 ^ -(raw & 1)
        for _ in range(count):
            end = signed() + reader.at
            reader.take(1)
            signed()
            offset = base + signed()
            parts = []
            for _ in range(2):
                length = signed()
                parts.append(None if length < 0 else reader.take(length))
            out.append((offset, *parts))
            reader.at = end
    return out


def message_set(values, magic, offset=0, timestamp=1_700_000_000_000):
    """Messages of format 0 or 1."""
    import zlib
    out = b""
    for i, value in enumerate(values):
        body = struct.pack(">bb", magic, 0) + (struct.pack(">q", timestamp) if magic else b"")
        body += struct.pack(">i", -1) + struct.pack(">i", len(value)) + value
        message = struct.pack(">I", zlib.crc32(body)) + body
        out += struct.pack(">qi", offset + i, len(message)) + message
    return out


def messages(data):
    """(offset, value) of the uncompressed messages of a set."""
    at, out = 0, []
    while at + 12 <= len(data):
        offset, size = struct.unpack_from(">qi", data, at)
        if at + 12 + size > len(data):
            break
        body = at + 12 + 4
        magic = data[body]
        body += 2 + (8 if magic else 0)
        key = struct.unpack_from(">i", data, body)[0]
        body += 4 + max(key, 0)
        length = struct.unpack_from(">i", data, body)[0]
        out.append((offset, data[body + 4:body + 4 + length]))
        at += 12 + size
    return out
