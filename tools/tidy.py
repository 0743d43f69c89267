#!/usr/bin/env python3
"""Checks the house style that a machine can see: lengths, banned functions, file-top prose.

Rules
  length    functions of at most 70 lines, files of at most 1,500
  banned    calls that hide a length, a copy or a global (tools/tidy.py: BANNED)
  prose     a source file of base, io, seglog and the folders of levels 3 to 6 opens with a comment of
            twenty words or more before its first include
Offenders named in tools/tidy_offenders.txt are let through; an entry that no longer offends fails
the run, so the list only shrinks. An entry is "rule path[:function]  reason".
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUNCTION_LINES, FILE_LINES, PROSE_WORDS = 70, 1500, 20
BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "atoi", "atol", "atof", "alloca", "setjmp",
          "longjmp", "strncpy", "strncat", "system", "tmpnam", "mktemp"]
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
PROSE_FOLDERS = {"base", "io", "seglog", "plan", "web", "exec", "meta", "blobstore", "broker", "stream", "group",
                 "txn"}
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(match):
    """The same number of lines, without what is in comments and literals."""
    return "\n" * match.group(0).count("\n") or " "


def functions(code):
    """(name, first line, length) of each function body that opens with a brace in column 0."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{") and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            head = " ".join(lines[max(0, start - 8):start - 1])
            names = re.findall(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head.split(";")[-1].split("}")[-1]))
            yield (names[0] if names else "?"), start, number - start - 1
            start = None


def offences(path):
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    code = COMMENT_OR_TEXT.sub(blank, text)
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield "length", name, f"{lines} lines"
    for function, start, length in functions(code):
        if length > FUNCTION_LINES:
            yield "length", f"{name}:{function}", f"{length} lines from line {start}"
    for match in BANNED_CALL.finditer(code):
        yield "banned", f"{name}:{match.group(1)}", f"line {code[:match.start()].count(chr(10)) + 1}"
    if path.suffix == ".c" and path.parts[-2] in PROSE_FOLDERS and name.startswith("src/"):
        head = text.split("#include")[0].split("#ifndef")[0]
        if len(re.findall(r"[A-Za-z]{2,}", " ".join(re.findall(r"/\*.*?\*/", head, re.S)))) < PROSE_WORDS:
            yield "prose", name, "no file-top comment"


def main():
    listed = {}
    offenders = ROOT / "tools/tidy_offenders.txt"
    for line in offenders.read_text(encoding="utf-8").splitlines() if offenders.exists() else []:
        if line.strip() and not line.startswith("#"):
            rule, place, *reason = line.split(maxsplit=2)
            listed[(rule, place)] = reason
    found, files = {}, 0
    for folder in ("src", "test", "bench"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            files += 1
            for rule, place, detail in offences(path):
                found[(rule, place)] = detail
    failures = [f"{place}: {rule}: {detail}" for (rule, place), detail in found.items() if (rule, place) not in listed]
    failures += [f"{place}: {rule}: no longer offends, take it off tools/tidy_offenders.txt"
                 for rule, place in listed if (rule, place) not in found]
    failures += [f"{place}: {rule}: an offender needs a reason" for (rule, place), why in listed.items() if not why]
    print("\n".join(failures), end="\n" if failures else "")
    print(f"tidy: {files} files, {len(failures)} failures, {len(listed)} listed offenders")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
