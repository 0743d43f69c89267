#!/usr/bin/env python3
"""Generates C structs, decoders and encoders of AMQP 1.0 composite types from defs/amqp/*.json.

usage: gen_amqp.py OUT.h OUT.c DEFINITION.json...

A composite is a described list. Its struct has one member per field:
  any, map, symbols     struct slice of the encoded value; data NULL when absent or null
  string, symbol, binary struct slice of the content; data NULL when absent or null
  numbers and booleans  the value; a field without a default also has `bool has_<field>`
Decoders accept missing trailing fields and refuse a missing required one, a wrong type and surplus fields.
Encoders write every field, also trailing nulls: some clients index the list without looking at its length.
"""
import json
import sys

NUMBERS = {
    "boolean": ("bool", "AMQP_BOOLEAN", "boolean"),
    "ubyte": ("uint8_t", "AMQP_UBYTE", "u"),
    "ushort": ("uint16_t", "AMQP_USHORT", "u"),
    "uint": ("uint32_t", "AMQP_UINT", "u"),
    "ulong": ("uint64_t", "AMQP_ULONG", "u"),
    "timestamp": ("int64_t", "AMQP_TIMESTAMP", "i"),
}
TEXTS = {"string", "symbol", "binary"}
RAWS = {"any", "map", "symbols"}


class Field:
    """One field of a definition: name, type and what stands in its place when it is absent."""

    def __init__(self, owner, row):
        self.name, self.type = row[0], row[1]
        self.required = len(row) > 2 and row[2] == "required"
        self.default = row[2] if len(row) > 2 and not self.required else None
        if self.type not in NUMBERS and self.type not in TEXTS and self.type not in RAWS:
            sys.exit(f"{owner}.{self.name}: unknown type {self.type}")
        if self.default is not None and self.type not in NUMBERS:
            sys.exit(f"{owner}.{self.name}: only numbers and booleans have defaults")

    @property
    def flagged(self):
        """Whether presence needs a member of its own."""
        return self.type in NUMBERS and not self.required and self.default is None

    def literal(self):
        """The default as a C literal."""
        if self.type == "boolean":
            return "true" if self.default else "false"
        return f"{self.default}u"


def load(paths):
    types, names, codes = [], set(), set()
    for path in paths:
        with open(path, encoding="utf-8") as source:
            for row in json.load(source)["types"]:
                if row["name"] in names or row["code"] in codes:
                    sys.exit(f"{path}: {row['name']} is defined twice")
                names.add(row["name"])
                codes.add(row["code"])
                types.append((row["name"], row["code"], [Field(row["name"], field) for field in row["fields"]]))
    return types


def write_header(types, out):
    out.write("/* Generated from defs/amqp by tools/gen_amqp.py. */\n"
              "#ifndef WEIR_AMQP_TYPES_H\n#define WEIR_AMQP_TYPES_H\n\n#include \"wire/amqp_value.h\"\n\n")
    out.write("enum amqp_code {\n")
    for name, code, _ in types:
        out.write(f"    AMQP_CODE_{name.upper()} = {code},\n")
    out.write("};\n")
    for name, code, fields in types:
        out.write(f"\nstruct amqp_{name} {{\n")
        for field in fields:
            ctype = NUMBERS[field.type][0] if field.type in NUMBERS else "struct slice"
            out.write(f"    {ctype} {field.name};\n")
        for field in fields:
            if field.flagged:
                out.write(f"    bool has_{field.name};\n")
        if not fields:
            out.write("    char unused;\n")
        out.write("};\n")
        out.write(f"/* Reads the fields of a described list {code:#x}; false when they do not fit the definition. */\n"
                  f"bool amqp_{name}_decode(const struct amqp_value *described, struct amqp_{name} *ret_{name});\n"
                  f"void amqp_{name}_encode(struct bytebuf *buf, const struct amqp_{name} *{name});\n")
    out.write("\n#endif\n")


def write_decode_field(field, name, out):
    target = f"ret_{name}->{field.name}"
    if field.type in NUMBERS:
        _, tag, member = NUMBERS[field.type]
        ctype = NUMBERS[field.type][0]
        out.write(f"    if (amqp_field_next(&fields, {tag}, &value, &ok)) {{\n"
                  f"        {target} = ({ctype})value.{member};\n")
        if field.flagged:
            out.write(f"        ret_{name}->has_{field.name} = true;\n")
        out.write("    }")
        if field.required:
            out.write(" else {\n        ok = false;\n    }")
        elif field.default is not None:
            out.write(f" else {{\n        {target} = {field.literal()};\n    }}")
        out.write("\n")
        return
    reader = {"any": "raw", "map": "map", "symbols": "symbols", "binary": "binary"}.get(field.type, "text")
    out.write(f"    {target} = amqp_field_{reader}(&fields, &ok);\n")
    if field.required:
        out.write(f"    ok = ok && {target}.data;\n")


def write_encode_field(field, name, out):
    source = f"{name}->{field.name}"
    if field.type in RAWS:
        out.write(f"    amqp_put_raw(buf, {source});\n")
    elif field.type in TEXTS:
        if field.required:
            out.write(f"    amqp_put_{field.type}(buf, {source});\n")
        else:
            out.write(f"    amqp_put_{field.type}_or_null(buf, {source});\n")
    elif field.flagged:
        out.write(f"    if ({name}->has_{field.name})\n        amqp_put_{field.type}(buf, {source});\n"
                  "    else\n        amqp_put_null(buf);\n")
    else:
        out.write(f"    amqp_put_{field.type}(buf, {source});\n")


def write_source(types, out):
    out.write("/* Generated from defs/amqp by tools/gen_amqp.py. */\n"
              "#include \"amqp_types.h\"\n#include \"wire/amqp_field.h\"\n")
    for name, code, fields in types:
        out.write(f"\nbool amqp_{name}_decode(const struct amqp_value *described, struct amqp_{name} *ret_{name})\n{{\n"
                  "    struct amqp_iter fields;\n    bool ok;\n")
        if any(field.type in NUMBERS for field in fields):
            out.write("    struct amqp_value value;\n")
        out.write(f"    *ret_{name} = (struct amqp_{name}){{0}};\n"
                  f"    ok = amqp_field_begin(described, {code}, &fields);\n")
        for field in fields:
            write_decode_field(field, name, out)
        out.write("    return ok && fields.left == 0;\n}\n")
        out.write(f"\nvoid amqp_{name}_encode(struct bytebuf *buf, const struct amqp_{name} *{name})\n{{\n"
                  f"    amqp_put_descriptor(buf, {code});\n")
        if not fields:
            out.write(f"    (void){name};\n    bytebuf_append_byte(buf, 0x45);\n}}\n")
            continue
        out.write("    size_t mark = amqp_begin_list(buf);\n")
        for field in fields:
            write_encode_field(field, name, out)
        out.write(f"    amqp_end(buf, mark, {len(fields)});\n}}\n")


def main(header, source, *definitions):
    types = load(definitions)
    with open(header, "w", encoding="utf-8") as out:
        write_header(types, out)
    with open(source, "w", encoding="utf-8") as out:
        write_source(types, out)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
