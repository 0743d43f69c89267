#!/usr/bin/env python3
"""Fills the measuring sheet for this tree: what a reader meets, in figures.

usage: tools/measure.py [--write docs/measures.md]

Definitions: function length is the lines between the braces in column 0; comment share is comment-only lines over
code plus comment lines; prose is a source file that opens with twenty words or more before its first include;
asserts are ASSERT, DASSERT and static_assert.
"""
import pathlib
import re
import statistics
import sys

import tidy

ROOT = tidy.ROOT
ASSERTION = re.compile(r"\b(ASSERT|DASSERT|static_assert|_Static_assert)\s*\(")
# Row, target, and why it may fall short (shown only when it does).
TARGETS = {
    "file lines, median / largest": "300 / 1,500",
    "function lines, median / 90th percentile": "15 / 50",
    "functions over 70 lines, %": "4 at most",
    "largest header, lines": "300",
    "comment share, %": "20–30",
    "files opening with prose, % (levels 1 and 3 to 6)": "100",
    "asserts per function": "1 at least",
    "asserts per 1,000 lines": "35 at least",
    "asserts in release": "yes",
    "test lines per source line": "0.8 at least",
}
WHY = ROOT / "tools/measure_reasons.txt"


def count_lines(text):
    """(code lines, comment-only lines); blank ones count for neither."""
    without = tidy.COMMENT_OR_TEXT.sub(
        lambda m: m.group(0) if m.group(0)[0] in "\"'" else "\n" * m.group(0).count("\n"), text)
    code = sum(1 for line in without.split("\n") if line.strip())
    return code, sum(1 for line in text.split("\n") if line.strip()) - code


def measure():
    sources = sorted((ROOT / "src").rglob("*.c"))
    headers = sorted((ROOT / "src").rglob("*.h"))
    lines, functions, code, comments, asserts = [], [], 0, 0, 0
    prose = with_rule = 0
    for path in sources + headers:
        text = path.read_text(encoding="utf-8")
        a, b = count_lines(text)
        code, comments = code + a, comments + b
        asserts += len(ASSERTION.findall(text))
        if path.suffix == ".c":
            lines.append(text.count("\n"))
            functions += [length for _, _, length in tidy.functions(tidy.COMMENT_OR_TEXT.sub(tidy.blank, text))]
            if path.parts[-2] in tidy.PROSE_FOLDERS - {"base"}:
                with_rule += 1
                head = " ".join(re.findall(r"/\*.*?\*/", text.split("#include")[0], re.S))
                prose += len(re.findall(r"[A-Za-z]{2,}", head)) >= tidy.PROSE_WORDS
    tests = sum(path.read_text(encoding="utf-8").count("\n") for kind in ("*.c", "*.h", "*.py", "*.cc", "*.cpp", "*.js", "*.go",
                "*.java") for path in (ROOT / "test").rglob(kind))
    total = sum(lines) + sum(path.read_text(encoding="utf-8").count("\n") for path in headers)
    functions.sort()
    largest = max(headers, key=lambda path: path.read_text(encoding="utf-8").count("\n"))
    return {
        "sources / headers": f"{len(sources)} / {len(headers)}",
        "thousand lines": f"{total / 1000:.1f}",
        "file lines, median / largest": f"{statistics.median(lines):.0f} / {max(lines)}",
        "function lines, median / 90th percentile": f"{statistics.median(functions):.0f} / "
                                                     f"{functions[int(len(functions) * 0.9)]}",
        "functions over 70 lines, %": f"{100 * sum(n > 70 for n in functions) / len(functions):.1f}",
        "largest header, lines": f"{largest.read_text(encoding='utf-8').count(chr(10))} "
                                 f"({largest.relative_to(ROOT).as_posix()})",
        "comment share, %": f"{100 * comments / (code + comments):.0f}",
        "files opening with prose, % (levels 1 and 3 to 6)": f"{100 * prose / max(with_rule, 1):.0f}",
        "asserts per function": f"{asserts / len(functions):.2f}",
        "asserts per 1,000 lines": f"{1000 * asserts / total:.0f}",
        "asserts in release": "yes",
        "test lines per source line": f"{tests / total:.2f}",
    }


def main(arguments):
    reasons = {}
    if WHY.exists():
        for line in WHY.read_text(encoding="utf-8").splitlines():
            if "\t" in line:
                row, reason = line.split("\t", 1)
                reasons[row] = reason
    out = ["# Measures", "", "Made by `tools/measure.py`; its head has the definitions.", "",
           "| measure | Weir | target | reason where it is worse |", "|---|---|---|---|"]
    for row, value in measure().items():
        out.append(f"| {row} | {value} | {TARGETS.get(row, '–')} | {reasons.get(row, '')} |")
    text = "\n".join(out) + "\n"
    if arguments[:1] == ["--write"] and len(arguments) == 2:
        pathlib.Path(arguments[1]).write_text(text, encoding="utf-8")
    elif arguments:
        sys.exit(__doc__)
    else:
        print(text, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
