#!/usr/bin/env python3
"""Runs the query language's cases through `weir localrun` and compares the rows.

Cases are JSON files, each a list: name, query, inputs (or input_files, csv), reference_inputs, settings, expected rows
for each output, expected_counts, or expected_error ("compile" or "runtime"). Own ones stand in test/sql/cases; more are
taken from SHARED_CASES or ../shared/cases beside the checkout when that exists.

test/sql/not_yet.txt lists the cases that are not expected to pass yet. One of them that passes fails the run, so that
the list only shrinks; `--update` writes it anew.
"""
import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NOT_YET = HERE / "not_yet.txt"


def case_folders():
    yield HERE / "cases"
    shared = os.environ.get("SHARED_CASES")
    base = pathlib.Path(shared) if shared else ROOT.parent / "shared" / "cases"
    if (base / "saql").is_dir():
        base = base / "saql"
    if base.is_dir():
        yield base


def load_cases():
    for folder in case_folders():
        for path in sorted(folder.glob("*.json")):
            for case in json.loads(path.read_text()):
                yield path, case


def write_inputs(path, case, work):
    """Files for every input of a case; yields (option, alias, file)."""
    for option, inline, files in (("--input", "inputs", "input_files"),
                                  ("--reference", "reference_inputs", "reference_input_files")):
        for alias, events in (case.get(inline) or {}).items():
            file = work / f"{option.strip('-')}-{alias}.json"
            file.write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events)
                            if isinstance(events, list) else events)
            yield option, alias, file
        for alias, name in (case.get(files) or {}).items():
            yield option, alias, (path.parent / name).resolve()
    known = set(case.get("inputs") or {}) | set(case.get("input_files") or {})
    for alias, text in (case.get("csv") or {}).items():
        if alias not in known:
            file = work / f"input-{alias}.csv"
            file.write_text(text)
            yield "--input", alias, file


def number_equal(a, b, tolerance):
    if a == b:
        return True
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return abs(a - b) <= (tolerance if tolerance is not None else 1e-9 * max(abs(a), abs(b), 1e-300))


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(want, got, case):
    if is_number(want) and is_number(got):
        return number_equal(want, got, case.get("tolerance"))
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(equal(want[k], got[k], case) for k in want)
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return False
        if case.get("unordered_arrays"):
            return multiset_equal(want, got, case, equal)
        return all(equal(w, g, case) for w, g in zip(want, got))
    return type(want) is type(got) and want == got


def row_equal(want, got, case):
    if case.get("ignore_extra_columns"):
        got = {k: v for k, v in got.items() if k in want}
    return equal(want, got, case)


def multiset_equal(want, got, case, same):
    left = list(got)
    for w in want:
        for i, g in enumerate(left):
            if same(w, g, case):
                del left[i]
                break
        else:
            return False
    return not left


def compare(case, outputs):
    for name, want in (case.get("expected") or {}).items():
        got = outputs.get(name.lower())
        if got is None:
            return f"no output {name}"
        if len(want) != len(got):
            return f"{name}: {len(want)} rows expected, {len(got)} came: {got[:5]}"
        if case.get("ordered"):
            for i, (w, g) in enumerate(zip(want, got)):
                if not row_equal(w, g, case):
                    return f"{name}: row {i}: expected {w}, got {g}"
        elif not multiset_equal(want, got, case, row_equal):
            return f"{name}: expected {want[:5]}, got {got[:5]}"
    for name, count in (case.get("expected_counts") or {}).items():
        if len(outputs.get(name.lower(), [])) != count:
            return f"{name}: {count} rows expected, {len(outputs.get(name.lower(), []))} came"
    return None


def row_object(pairs):
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError(f"a name stands twice in a row: {[name for name, _ in pairs]}")
    return row


def read_rows(file):
    """Rows of an output: one JSON object a line, no name twice in it."""
    lines = file.read_text().split("\n")
    if lines.pop():
        raise ValueError(f"{file.name} does not end with a line end")
    return [json.loads(line, object_pairs_hook=row_object) for line in lines]


def run_case(weir, path, case):
    """None: passed; otherwise what went wrong."""
    with tempfile.TemporaryDirectory() as tmp:
        work = pathlib.Path(tmp)
        query = work / "query.asaql"
        query.write_text(case["query"])
        command = [weir, "localrun", str(query), "--out", str(work / "out")]
        for option, alias, file in write_inputs(path, case, work):
            command += [option, f"{alias}={file}"]
        settings = dict(case.get("settings") or {})
        if case.get("arrival_times"):
            settings["arrivalTimes"] = case["arrival_times"]
        if case.get("functions"):
            settings["functions"] = case["functions"]
        if settings:
            (work / "settings.json").write_text(json.dumps(settings))
            command += ["--settings", str(work / "settings.json")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            return "still running after 60 s"
        want_code = {"compile": 2, "runtime": 1, None: 0}[case.get("expected_error")]
        said = done.stderr.strip().splitlines()
        first = next((line for line in said if "error" in line), said[0] if said else "")
        if done.returncode != want_code:
            return f"exit {done.returncode} instead of {want_code}: {first}"
        if want_code == 2 and "not supported yet" in done.stderr:
            return f"refused for another reason: {first}"
        if want_code:
            if want_code == 2 and not re.search(r":\d+:\d+: error: |: error: ", done.stderr):
                return f"no place in the message: {first}"
            return None
        try:
            outputs = {file.stem.lower(): read_rows(file) for file in (work / "out").glob("*.json")}
        except ValueError as error:
            return f"an output is not JSON lines: {error}"
        return compare(case, outputs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weir", nargs="?", default=os.environ.get("WEIR", str(ROOT / "build/release/weir")),
                        help="the program (default: WEIR, else build/release/weir)")
    parser.add_argument("--update", action="store_true", help="write not_yet.txt anew")
    parser.add_argument("-v", action="store_true", help="say why each listed case does not pass")
    parser.add_argument("-n", "--name", action="append", dest="names", default=[],
                        help="only cases whose name holds this")
    args = parser.parse_args()
    args.weir = str(pathlib.Path(args.weir).resolve())
    listed = {}
    if NOT_YET.exists():
        for line in NOT_YET.read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, why = line.partition("\t")
                listed[name] = why
    passed, failed, skipped, now = 0, [], 0, {}
    for path, case in load_cases():
        name = case["name"]
        if args.names and not any(part in name for part in args.names):
            continue
        why = run_case(args.weir, path, case)
        if why is None:
            passed += 1
            if name in listed and not args.update:
                failed.append(f"{name}: passes now; take it off not_yet.txt")
        elif name in listed or args.update or case.get("uncertain"):
            skipped += 1
            now[name] = why
            if args.v:
                print(f"not yet: {name}: {why}")
        else:
            failed.append(f"{name}: {why}")
    if args.update:
        lines = ["# Cases that do not pass yet, with what they say. Written by run_cases.py --update.\n"]
        lines += [f"{name}\t{re.sub(r'/tmp/[^: ]*/', '', why).replace(chr(10), ' ')[:160]}\n" for name, why in sorted(now.items())]
        NOT_YET.write_text("".join(lines))
    for line in failed:
        print("FAILED", line)
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
