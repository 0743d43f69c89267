#!/usr/bin/env python3
"""Generates C codecs of Kafka messages from defs/kafka/*.json (the notation is described in the README there).

usage: gen_wire.py OUTDIR DEFINITION.json...

Per definition: kafka_NAME.h and kafka_NAME.c with one struct per message for all versions, an initialiser with the
defaults, a decoder (slices into the input, arrays in an arena) and an encoder for request and response alike. Over all:
kafka_apis.h and kafka_apis.c, the table of keys and version ranges.
"""
import json
import os
import re
import sys

TOP = 32767
SCALARS = {  # type: (C type, reader, writer, cast for the writer, bytes)
    "bool": ("bool", "wire_reader_bool", "wire_writer_u8", "", 1),
    "int8": ("int8_t", "wire_reader_i8", "wire_writer_u8", "(uint8_t)", 1),
    "int16": ("int16_t", "wire_reader_i16", "wire_writer_u16", "(uint16_t)", 2),
    "int32": ("int32_t", "wire_reader_i32", "wire_writer_u32", "(uint32_t)", 4),
    "int64": ("int64_t", "wire_reader_i64", "wire_writer_u64", "(uint64_t)", 8),
    "float64": ("double", "wire_reader_f64", "wire_writer_f64", "", 8),
    "uuid": ("struct wire_uuid", "wire_reader_uuid", "wire_writer_uuid", "", 16),
}
TEXTS = ("string", "bytes")
FIELD = re.compile(
    r"^(?P<name>[a-z][a-z0-9_]*): (?P<type>(\[\])?[a-z][a-z0-9_]*) (?P<versions>[0-9+-]+)"
    r"(?: null (?P<null>[0-9+-]+))?(?: tag (?P<tag>[0-9]+) (?P<tagged>[0-9+-]+))?(?: = (?P<default>\S+))?$")


def parse_range(text, where):
    """'3' is one version, '0-2' a span, '4+' open. None is empty."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+)|(\+))?", text)
    if not match:
        sys.exit(f"{where}: bad version range {text!r}")
    low = int(match[1])
    high = TOP if match[3] else int(match[2] or low)
    if high < low:
        sys.exit(f"{where}: empty version range {text!r}")
    return low, high


def clip(span, within):
    """The part of a range inside another, None when there is none."""
    if span is None or within is None:
        return None
    low, high = max(span[0], within[0]), min(span[1], within[1])
    return (low, high) if low <= high else None


class Field:
    """One line of a definition, with the struct inside it when there is one."""

    def __init__(self, item, where, message):
        line, inner = (item, None) if isinstance(item, str) else item
        match = FIELD.match(line)
        if not match:
            sys.exit(f"{where}: cannot read the field {line!r}")
        where = f"{where}.{match['name']}"
        self.name = match["name"]
        self.is_array = match["type"].startswith("[]")
        self.type = match["type"].removeprefix("[]")
        self.versions = parse_range(match["versions"], where)
        self.null = parse_range(match["null"], where)
        self.tag = None if match["tag"] is None else int(match["tag"])
        self.tagged = parse_range(match["tagged"], where)
        self.default = match["default"]
        self.struct = None
        if inner is not None:
            self.struct = Struct(f"{message.prefix}_{self.type}", inner, where, message)
        elif self.type in message.common:
            self.struct = message.common[self.type]
        elif self.type not in SCALARS and self.type not in TEXTS and self.type != "records":
            sys.exit(f"{where}: unknown type {self.type!r}")
        if self.default == "null" and self.null is None:
            sys.exit(f"{where}: default null, but never nullable")
        if self.tagged and (self.tagged[1] != TOP or self.tagged[0] < message.flexible[0]):
            sys.exit(f"{where}: tagged versions must be open and flexible")

    @property
    def ctype(self):
        if self.struct:
            return f"struct {self.struct.name}"
        if self.type in TEXTS:
            return "struct slice"
        return "struct wire_records" if self.type == "records" else SCALARS[self.type][0]

    def in_body(self, message):
        """Versions in which the field stands in the body, as a list of ranges."""
        span = clip(self.versions, message.versions)
        if span is None or self.tagged is None:
            return span
        return clip(span, (0, self.tagged[0] - 1)) if self.tagged[0] > 0 else None

    def least(self, version, message):
        """Fewest bytes on the wire in that version."""
        body = self.in_body(message)
        if not body or not body[0] <= version <= body[1]:
            return 0
        flexible = version >= message.flexible[0]
        if self.is_array:
            return 1 if flexible else 4
        if self.struct:
            return self.struct.least(version, message)
        if self.type == "string":
            return 1 if flexible else 2
        return (1 if flexible else 4) if self.type in ("bytes", "records") else SCALARS[self.type][4]


class Struct:
    """A C struct and its pair of functions."""

    def __init__(self, name, items, where, message):
        self.name = name
        self.fields = [Field(item, where, message) for item in items]
        if len({field.name for field in self.fields}) != len(self.fields):
            sys.exit(f"{where}: two fields of one name")
        message.structs.append(self)

    def least(self, version, message):
        size = 1 if version >= message.flexible[0] else 0
        return size + sum(field.least(version, message) for field in self.fields)


class Message:
    """A request or response: its structs, innermost first, the message itself last."""

    def __init__(self, api, kind, where):
        self.prefix = f"kafka_{api['name']}_{kind}"
        self.versions = parse_range(api["versions"], where)
        self.flexible = (TOP + 1, TOP + 1) if api["flexible"] == "none" else parse_range(api["flexible"], where)
        self.structs = []
        self.common = {}
        for name, items in api.get("structs", {}).items():
            self.common[name] = Struct(f"{self.prefix}_{name}", items, f"{where}.{name}", self)
        self.root = Struct(self.prefix, api[kind], f"{where}.{kind}", self)


def condition(span, message, subject="version"):
    """The C test for a range inside the message's versions; empty when it always holds."""
    low, high = message.versions
    parts = []
    if span[0] > low:
        parts.append(f"{subject} >= {span[0]}")
    if span[1] < high:
        parts.append(f"{subject} <= {span[1]}")
    return " && ".join(parts)


def nullable(field, message):
    span = clip(field.null, message.versions)
    if span is None:
        return "false"
    return condition(span, message) or "true"


def flexible(message):
    """The C expression that says whether a version is flexible."""
    low, high = message.versions
    if message.flexible[0] <= low:
        return "true"
    return "false" if message.flexible[0] > high else f"version >= {message.flexible[0]}"


def default_value(field):
    if field.type in TEXTS:
        return "SLICE_NULL" if field.default == "null" else 'SLICE_LIT("")'
    if field.type == "records":
        return "{.is_null = true}" if field.default == "null" else "{.is_null = false}"
    if field.default == "-2147483648":
        return "INT32_MIN"
    if field.default == "9223372036854775807":
        return "INT64_MAX"
    return field.default or ("false" if field.type == "bool" else "0")


def emit_struct(out, struct):
    out.append(f"struct {struct.name} {{")
    for field in struct.fields:
        if field.is_array:
            out.append(f"    {field.ctype} *{field.name};")
            out.append(f"    int32_t {field.name}_count; /* -1: null */")
        else:
            out.append(f"    {field.ctype} {field.name};")
    out.append("};\n")


def emit_init(out, struct):
    out.append(f"static inline void {struct.name}_init(struct {struct.name} *msg)\n{{")
    out.append("    memset(msg, 0, sizeof(*msg));")
    for field in struct.fields:
        if field.is_array:
            if field.default == "null":
                out.append(f"    msg->{field.name}_count = -1;")
        elif field.struct:
            out.append(f"    {field.struct.name}_init(&msg->{field.name});")
        elif field.type == "records":
            if field.default == "null":
                out.append(f"    msg->{field.name}.is_null = true;")
        elif default_value(field) not in ("0", "false"):
            out.append(f"    msg->{field.name} = {default_value(field)};")
    out.append("}\n")


def guarded(out, test, lines, indent="    "):
    if test:
        out.append(f"{indent}if ({test}) {{")
        out.extend(f"{indent}    {line}" for line in lines)
        out.append(f"{indent}}}")
    else:
        out.extend(f"{indent}{line}" for line in lines)


def read_value(field, target, source, null):
    if field.struct:
        return [f"{field.struct.name}_read({source}, version, arena, &{target});"]
    if field.type in TEXTS:
        plain = "wire_reader_string" if field.type == "string" else "wire_reader_data"
        return [f"{target} = flex ? wire_reader_compact({source}, {null}) : {plain}({source}, {null});"]
    if field.type == "records":
        return [f"{target} = wire_reader_records({source}, flex, {null});"]
    return [f"{target} = {SCALARS[field.type][1]}({source});"]


def read_lines(field, message, source):
    null = nullable(field, message)
    target = f"msg->{field.name}"
    if not field.is_array:
        return read_value(field, target, source, null)
    if field.struct:
        versions = range(message.versions[0], min(message.versions[1], 64) + 1)
        least = max(1, min(field.struct.least(version, message) for version in versions))
    else:
        least = 1 if field.type in TEXTS else SCALARS[field.type][4]
    return [f"{target}_count = wire_reader_count({source}, flex, {null}, {least});",
            f"if ({target}_count > 0) {{",
            f"    {target} = ARENA_ARRAY(arena, {field.ctype}, (size_t){target}_count);",
            f"    if (!{target})",
            f"        wire_reader_fail({source});",
            f"    for (int32_t i = 0; {target} && i < {target}_count && !{source}->failed; i++)",
            *(f"        {line}" for line in read_value(field, f"{target}[i]", source, "false")),
            "}"]


def emit_read(out, struct, message):
    out.append(f"static void {struct.name}_read(struct wire_reader *in, int16_t version, struct arena *arena,")
    out.append(f"    struct {struct.name} *msg)\n{{")
    out.append(f"    const bool flex = {flexible(message)};")
    out.append(f"    {struct.name}_init(msg);")
    for field in struct.fields:
        span = field.in_body(message)
        if span:
            guarded(out, condition(span, message), read_lines(field, message, "in"))
    tagged = [field for field in struct.fields if clip(field.tagged, message.versions)]
    if not tagged:
        out.append("    if (flex)\n        wire_reader_tags_skip(in);\n}\n")
        return
    out.append("    uint32_t tags = flex ? wire_reader_uvarint(in) : 0;")
    out.append("    for (uint32_t t = 0; t < tags && !in->failed; t++) {")
    out.append("        uint32_t tag = wire_reader_uvarint(in);")
    out.append("        uint32_t size = wire_reader_uvarint(in);")
    out.append("        const uint8_t *at = wire_reader_take(in, size);")
    out.append("        if (!at)\n            break;")
    out.append("        struct wire_reader payload = {at, at + size, false}, *sub = &payload;")
    out.append("        switch (tag) {")
    for field in tagged:
        out.append(f"        case {field.tag}:")
        test = condition(clip(field.tagged, message.versions), message)
        guarded(out, test, read_lines(field, message, "sub"), "            ")
        out.append("            break;")
    out.append("        default:\n            break;\n        }")
    out.append("        if (payload.failed)\n            wire_reader_fail(in);\n    }\n}\n")


def write_value(field, value, null):
    if field.struct:
        return [f"{field.struct.name}_write(out, version, &{value});"]
    if field.type in TEXTS:
        plain = "wire_writer_string" if field.type == "string" else "wire_writer_data"
        text = value if null == "true" else f"present({value}, {null})"
        return [f"if (flex)", f"    wire_writer_compact(out, {text});", "else", f"    {plain}(out, {text});"]
    if field.type == "records":
        return [f"wire_writer_records(out, flex, &{value});"]
    _, _, writer, cast, _ = SCALARS[field.type]
    return [f"{writer}(out, {cast}{value});"]


def write_lines(field, message):
    null = nullable(field, message)
    value = f"msg->{field.name}"
    if not field.is_array:
        return write_value(field, value, null)
    body = write_value(field, f"{value}[i]", "false")
    if null == "true":
        count = f"{value}_count"
    elif null == "false":
        count = f"{value}_count < 0 ? 0 : {value}_count"
    else:
        count = f"{value}_count < 0 && !({null}) ? 0 : {value}_count"
    return [f"wire_writer_count(out, flex, {count});",
            f"for (int32_t i = 0; i < {value}_count; i++) {{",
            *(f"    {line}" for line in body), "}"]


def differs(field, value):
    """The C test that a tagged field is not its default, so that it must be written."""
    if field.is_array:
        return f"{value}_count > 0" if field.default != "null" else f"{value}_count >= 0"
    if field.struct:
        return " || ".join(differs(inner, f"{value}.{inner.name}") for inner in field.struct.fields)
    if field.type in TEXTS:
        return f"{value}.data != NULL" if field.default == "null" else f"{value}.len > 0"
    if field.type == "uuid":
        return f"!wire_uuid_is_zero({value})"
    return f"{value} != {default_value(field)}"


def emit_write(out, struct, message):
    out.append(f"static void {struct.name}_write(struct wire_writer *out, int16_t version,")
    out.append(f"    const struct {struct.name} *msg)\n{{")
    out.append(f"    const bool flex = {flexible(message)};\n    (void)flex;")
    for field in struct.fields:
        span = field.in_body(message)
        if span:
            guarded(out, condition(span, message), write_lines(field, message))
    tagged = sorted((field for field in struct.fields if clip(field.tagged, message.versions)),
                    key=lambda field: field.tag)
    if not tagged:
        out.append("    if (flex)\n        wire_writer_uvarint(out, 0);\n}\n")
        return
    out.append("    if (!flex)\n        return;\n    uint32_t tags = 0;")
    for field in tagged:
        test = condition(clip(field.tagged, message.versions), message)
        need = f"({differs(field, f'msg->{field.name}')})"
        out.append(f"    const bool has_{field.name} = {test + ' && ' if test else ''}{need};")
        out.append(f"    tags += has_{field.name};")
    out.append("    wire_writer_uvarint(out, tags);")
    for field in tagged:
        out.append(f"    if (has_{field.name}) {{")
        out.append(f"        size_t mark = wire_writer_tag_begin(out, {field.tag});")
        out.extend(f"        {line}" for line in write_lines(field, message))
        out.append("        wire_writer_tag_end(out, mark);\n    }")
    out.append("}\n")


def emit_entry(header, code, message):
    name = message.prefix
    header.append(f"/* False: malformed, or the arena is full. Slices point into the input, arrays live in the arena. */")
    decode = f"bool {name}_decode(struct wire_reader *in, int16_t version, struct arena *arena, struct {name} *ret_msg)"
    encode = f"void {name}_encode(struct wire_writer *out, int16_t version, const struct {name} *msg)"
    header.append(f"MUST_CHECK {decode};\n{encode};\n")
    low, high = message.versions
    code.append(f"{decode}\n{{\n    ASSERT(version >= {low} && version <= {high});")
    code.append(f"    {name}_read(in, version, arena, ret_msg);\n    return !in->failed;\n}}\n")
    code.append(f"{encode}\n{{\n    ASSERT(version >= {low} && version <= {high});")
    code.append(f"    {name}_write(out, version, msg);\n}}\n")


def generate(api, outdir, where):
    name = api["name"]
    guard = f"WEIR_KAFKA_{name.upper()}_H"
    header = [f"/* Generated from defs/kafka/{name}.json. */", f"#ifndef {guard}\n#define {guard}\n",
              '#include "base/assert.h"\n#include "wire/cursor.h"\n']
    code = [f"/* Generated from defs/kafka/{name}.json. */", f'#include "kafka_{name}.h"\n']
    code.append("/* A null where the version has none is written as empty. */")
    code.append("__attribute__((unused)) static inline struct slice\npresent(struct slice text, bool nullable)\n{")
    code.append('    return text.data || nullable ? text : SLICE_LIT("");\n}\n')
    for kind in ("request", "response"):
        message = Message(api, kind, where)
        for struct in message.structs:
            emit_struct(header, struct)
            emit_init(header, struct)
            emit_read(code, struct, message)
            emit_write(code, struct, message)
        emit_entry(header, code, message)
    header.append("#endif")
    for suffix, lines in (("h", header), ("c", code)):
        with open(os.path.join(outdir, f"kafka_{name}.{suffix}"), "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")


def generate_table(apis, outdir):
    header = ["/* Generated from defs/kafka. */", "#ifndef WEIR_KAFKA_APIS_H\n#define WEIR_KAFKA_APIS_H\n",
              "#include <stdint.h>\n", "enum kafka_key {"]
    header += [f"    KAFKA_{api['name'].upper()} = {api['key']}," for api in apis]
    header.append("};\n\n/* What the definitions cover; which of it is served is the front's decision. */")
    header.append("struct kafka_api {\n    const char *name;\n    int16_t key;\n    int16_t version_min;")
    header.append("    int16_t version_max;\n    int16_t flexible_from;\n};\n")
    header.append(f"enum {{ KAFKA_API_COUNT = {len(apis)} }};\nextern const struct kafka_api kafka_apis[KAFKA_API_COUNT];")
    header.append("\n#endif")
    code = ["/* Generated from defs/kafka. */", '#include "kafka_apis.h"\n',
            "const struct kafka_api kafka_apis[KAFKA_API_COUNT] = {"]
    for api in apis:
        low, high = parse_range(api["versions"], api["name"])
        start = TOP if api["flexible"] == "none" else parse_range(api["flexible"], api["name"])[0]
        code.append(f'    {{"{api["name"]}", {api["key"]}, {low}, {high}, {start}}},')
    code.append("};")
    for suffix, lines in (("h", header), ("c", code)):
        with open(os.path.join(outdir, f"kafka_apis.{suffix}"), "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")


def main(outdir, paths):
    apis = []
    for path in paths:
        with open(path, encoding="utf-8") as source:
            api = json.load(source)
        if os.path.basename(path) != api["name"] + ".json":
            sys.exit(f"{path}: the file is named otherwise than its API")
        generate(api, outdir, os.path.basename(path))
        apis.append(api)
    generate_table(sorted(apis, key=lambda api: api["key"]), outdir)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
