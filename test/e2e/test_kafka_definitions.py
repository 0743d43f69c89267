"""Compares our message definitions with those that Kafka's own clients carry.

Two releases are read: the newest, and the last one that still had the old versions. In every version that both know,
a message must have the same fields in the same order, with the same type, nullability, tag and default.
"""
import json
import pathlib
import re
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "test/lib")]
import gen_wire  # noqa: E402
import maven  # noqa: E402

RELEASES = ["4.3.1", "3.9.1"]
DEFINITIONS = sorted((ROOT / "defs/kafka").glob("*.json"))


def span(text):
    """A range of Kafka's notation as (low, high), None for none."""
    if text is None or text == "none":
        return None
    low, _, high = text.partition("-")
    if text.endswith("+"):
        return int(text[:-1]), gen_wire.TOP
    return int(low), int(high or low)


def within(bounds, version):
    return bounds is not None and bounds[0] <= version <= bounds[1]


def plain(name):
    return name.replace("_", "").lower()


def default_of(text, kind, is_array):
    """Defaults of both notations as one value."""
    if text == "null":
        return None
    if is_array:
        return []
    if kind == "string":
        return text or ""
    if kind == "bool":
        return str(text).lower() == "true"
    if kind.startswith("int"):
        return int(str(text), 0) if text not in (None, "") else 0
    return ""


class Theirs:
    """A message of a jar."""

    def __init__(self, release, name):
        with zipfile.ZipFile(maven.jar(f"org.apache.kafka:kafka-clients:{release}")) as jar:
            text = jar.read(f"common/message/{name}.json").decode()
        self.message = json.loads(re.sub(r"(?m)^\s*//.*$", "", text))
        self.versions = span(self.message["validVersions"])
        self.flexible = span(self.message["flexibleVersions"])
        self.common = {struct["name"]: struct["fields"] for struct in self.message.get("commonStructs", [])}

    def fields(self, version, fields=None):
        """Every field of a version, flattened to comparable rows."""
        for field in self.message["fields"] if fields is None else fields:
            tagged = span(field.get("taggedVersions"))
            present = span(field.get("versions") or field.get("taggedVersions"))
            if not within(present, version):
                continue
            kind = field["type"]
            is_array = kind.startswith("[]")
            kind = kind.removeprefix("[]")
            inner = field.get("fields") or self.common.get(kind)
            yield (plain(field["name"]), "struct" if inner else kind, is_array,
                   within(span(field.get("nullableVersions")), version),
                   field["tag"] if within(tagged, version) else None,
                   None if inner and not is_array else default_of(field.get("default"), kind, is_array),
                   tuple(self.fields(version, inner)) if inner else None)


def ours(message, version, struct=None):
    for field in (struct or message.root).fields:
        if not within(field.versions, version):
            continue
        tagged = within(field.tagged, version)
        yield (plain(field.name), "struct" if field.struct else field.type, field.is_array,
               within(field.null, version), field.tag if tagged else None,
               None if field.struct and not field.is_array else default_of(field.default, field.type, field.is_array),
               tuple(ours(message, version, field.struct)) if field.struct else None)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("release", RELEASES)
def test_definition_is_that_of_kafka(release, path):
    api = json.loads(path.read_text())
    camel = "".join(word.capitalize() for word in api["name"].split("_"))
    compared = 0
    for kind in ("request", "response"):
        message = gen_wire.Message(api, kind, path.name)
        theirs = Theirs(release, camel + kind.capitalize())
        assert theirs.message["apiKey"] == api["key"]
        none = (gen_wire.TOP + 1, gen_wire.TOP + 1)
        low = max(message.versions[0], theirs.versions[0])
        high = min(message.versions[1], theirs.versions[1])
        for version in range(low, high + 1):
            assert within(message.flexible, version) == within(theirs.flexible or none, version), (kind, version)
            # Nullable fields whose default the other side leaves open differ only in what an absent field holds.
            assert list(ours(message, version)) == list(theirs.fields(version)), (kind, version)
            compared += 1
    assert compared > 0


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_every_version_is_covered_by_a_release(path):
    api = json.loads(path.read_text())
    camel = "".join(word.capitalize() for word in api["name"].split("_"))
    known = set()
    for release in RELEASES:
        low, high = Theirs(release, camel + "Request").versions
        known.update(range(low, high + 1))
    low, high = gen_wire.parse_range(api["versions"], path.name)
    assert set(range(low, high + 1)) <= known
