#!/usr/bin/env python3
"""Generates the error enum and its table from defs/errors.json.

usage: gen_errors.py ERRORS.json CODES.h TABLE.c
"""
import json
import sys

CLASSES = {"none", "client", "retriable", "fatal", "corrupt"}


def main(source, header, table):
    rows = json.load(open(source, encoding="utf-8"))
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names) or names[0] != "ok":
        sys.exit("errors.json: names must be unique and begin with ok")
    bad = [row["name"] for row in rows if row["class"] not in CLASSES]
    if bad:
        sys.exit(f"errors.json: unknown class in {bad}")
    with open(header, "w", encoding="utf-8") as out:
        out.write("/* Generated from defs/errors.json. */\n#ifndef WEIR_ERROR_CODES_H\n#define WEIR_ERROR_CODES_H\n\n")
        out.write("enum err {\n")
        for row in rows:
            out.write(f"    ERR_{row['name'].upper()}, /* {row['text']} */\n")
        out.write("    ERR_COUNT\n};\n\n#endif\n")
    with open(table, "w", encoding="utf-8") as out:
        out.write('/* Generated from defs/errors.json. */\n#include "base/error.h"\n\n')
        out.write("extern const struct err_row err_rows[ERR_COUNT];\nconst struct err_row err_rows[ERR_COUNT] = {\n")
        for row in rows:
            out.write(f'    [ERR_{row["name"].upper()}] = {{"{row["name"]}", ERR_CLASS_{row["class"].upper()}, '
                      f'{row["kafka"]}, {json.dumps(row["amqp"])}, {row["http"]}, {json.dumps(row["text"])}}},\n')
        out.write("};\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
