#!/usr/bin/env python3
"""Fails on an include that goes against the rule of levels: a folder includes lower folders and itself.

The levels are those of ARCHITECTURE.md. Prints each breach as file:line and a closing line.
"""
import pathlib
import re
import sys

LEVELS = {
    "base": 0,
    "io": 1,
    "wire": 2, "codec": 2, "sql": 2,
    "seglog": 3, "plan": 3, "kclient": 3, "web": 3,
    "event": 4, "exec": 4, "meta": 4, "blobstore": 4,
    "broker": 5, "stream": 5,
    "group": 6, "txn": 6,
    "connect": 7, "cluster": 7,
    "front/kafka": 8, "front/eventhubs": 8, "front/blob": 8, "front/admin": 8,
    "cli": 9,
}
ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "front" else parts[0]


def main():
    breaches, files = [], 0
    for source in sorted((ROOT / "src").rglob("*.[ch]")):
        files += 1
        name = source.relative_to(ROOT / "src").as_posix()
        own = folder_of(name)
        if own not in LEVELS:
            breaches.append(f"src/{name}: folder {own} has no level in tools/layers.py")
            continue
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match or "/" not in match.group(1):
                continue
            other = folder_of(match.group(1))
            if other != own and (other not in LEVELS or LEVELS[other] >= LEVELS[own]):
                breaches.append(f"src/{name}:{number}: {own} (level {LEVELS[own]}) includes {match.group(1)}")
    print("\n".join(breaches), end="\n" if breaches else "")
    print(f"layers: {files} files, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
