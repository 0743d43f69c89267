#!/usr/bin/env python3
"""Writes docs/compatibility.md from what proves it: message definitions, tests and the list of cases not passed yet.

usage: tools/compat.py            writes the page
       tools/compat.py --check    fails when the page is not what it would write
"""
import ast
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/compatibility.md"


def kafka_calls():
    rows = []
    for path in (ROOT / "defs/kafka").glob("*.json"):
        message = json.loads(path.read_text(encoding="utf-8"))
        rows.append((message["key"], "".join(part.capitalize() for part in message["name"].split("_")),
                     message["versions"]))
    return sorted(rows)


def tests():
    """(file, what it is about, its tests) of the end-to-end suite."""
    for path in sorted((ROOT / "test/e2e").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        about = (ast.get_docstring(tree) or "").split("\n")[0]
        names = [node.name[5:].replace("_", " ") for node in tree.body
                 if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")]
        yield path.name, about, names


def not_yet():
    """What the query language lacks, by the message that it is refused with."""
    lacks = {}
    for line in (ROOT / "test/sql/not_yet.txt").read_text(encoding="utf-8").splitlines():
        if "\t" not in line:
            continue
        case, reason = line.split("\t", 1)
        reason = reason.split("error: ", 1)[-1]
        lacks.setdefault(reason, []).append(case)
    return sorted(lacks.items())


def page():
    out = ["# What is compatible", "",
           "Made by `tools/compat.py` from the message definitions, the end-to-end tests and the list of query cases that do",
           "not pass yet. Every line under *Clients* is a test that runs an unmodified client or speaks the wire frame by frame.",
           "", "## Kafka calls", "", "| key | call | versions |", "|---|---|---|"]
    out += [f"| {key} | {name} | {versions} |" for key, name, versions in kafka_calls()]
    out += ["", "Not served yet: transactions, the newer group protocols, ACLs, SASL and TLS, changes of configurations.", "",
            "## Clients and doors", ""]
    for name, about, names in tests():
        out += [f"**{about}** (`{name}`)", "", ": " + "; ".join(names), ""]
    out += ["## Query language", "",
            "Not yet supported; each is refused with a message that names it, and the cases that wait for it:", "",
            "| message | cases |", "|---|---|"]
    out += [f"| {reason} | {', '.join(cases)} |" for reason, cases in not_yet()]
    return "\n".join(out) + "\n"


def main(arguments):
    if arguments == ["--check"]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print("docs/compatibility.md is not what tools/compat.py writes; run it")
        return 1
    if arguments:
        sys.exit(__doc__)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
