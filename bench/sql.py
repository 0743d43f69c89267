"""The SQL engine against DuckDB with one thread, on the same file, rows compared before any figure counts.

`weir localrun` (one thread by nature) reads JSON lines and writes JSON lines; DuckDB does the same by COPY. CPU seconds are
those of the process while it runs the query; the import of DuckDB does not count.
"""
import collections
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "build/venv/bench"
EVENTS = 1_000_000
ROUNDS = 5
COLUMNS = "{deviceId:'VARCHAR', type:'VARCHAR', value:'DOUBLE'}"
CASES = {
    "filter: type = 'CO2' AND value > 45, two columns": (
        "SELECT deviceId, value INTO o FROM t WHERE type = 'CO2' AND value > 45",
        "SELECT deviceId, value FROM t WHERE type = 'CO2' AND value > 45"),
    "arithmetic on every event, two columns": (
        "SELECT deviceId, value * 2 AS v INTO o FROM t",
        "SELECT deviceId, value * 2 AS v FROM t"),
}


def duckdb(folder):
    """Runs in DuckDB's own process: one line of JSON with wall and CPU seconds of each round, by case."""
    import duckdb as engine
    connection = engine.connect()
    connection.execute("SET threads = 1")
    figures = []
    for index, (_, query) in enumerate(CASES.values()):
        source = f"read_json('{folder}/t.jsonl', format='newline_delimited', columns={COLUMNS})"
        rounds = []
        for _ in range(ROUNDS):
            wall, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
            connection.execute(f"COPY ({query.replace(' FROM t', f' FROM {source}')}) "
                               f"TO '{folder}/duckdb-{index}.json' (FORMAT json)")
            now = resource.getrusage(resource.RUSAGE_SELF)
            rounds.append((time.monotonic() - wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime))
        figures.append(rounds)
    print(json.dumps([engine.__version__, figures]))


def weir(program, folder, index, query):
    script = pathlib.Path(folder) / "query.asaql"
    script.write_text(query)
    rounds = []
    for _ in range(ROUNDS):
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([program, "localrun", script, "--input", f"t={folder}/t.jsonl", "--out", f"{folder}/{index}"],
                       check=True)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        rounds.append((time.monotonic() - wall, now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime))
    return rounds


def canonical(path):
    return collections.Counter(tuple(sorted(json.loads(line).items())) for line in open(path))


def table(program):
    """Lines of the result table. program: a release build of weir."""
    if not (VENV / "bin/duckdb.ok").exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "-q", "--disable-pip-version-check", "duckdb"], check=True)
        (VENV / "bin/duckdb.ok").touch()
    with tempfile.TemporaryDirectory(prefix="weir-bench.") as folder:
        with open(f"{folder}/t.jsonl", "wb") as out:
            subprocess.run([program, "generate", "telemetry", "-n", str(EVENTS)], check=True, stdout=out)
        done = subprocess.run([VENV / "bin/python", __file__, "duckdb", folder], check=True, stdout=subprocess.PIPE)
        version, theirs = json.loads(done.stdout)
        lines = [f"SQL, {EVENTS:,} telemetry events ({pathlib.Path(folder, 't.jsonl').stat().st_size / 1e6:.0f} MB), file to "
                 f"file, one thread, median of {ROUNDS}; DuckDB {version}.", "",
                 "| query | Weir CPU | DuckDB CPU | Weir / DuckDB | Weir M events per CPU second | rows equal |",
                 "|---|---|---|---|---|---|"]
        for index, (name, (query, _)) in enumerate(CASES.items()):
            ours = statistics.median(cpu for _, cpu in weir(program, folder, index, query))
            other = statistics.median(cpu for _, cpu in theirs[index])
            same = canonical(f"{folder}/{index}/{'o'}.json") == canonical(f"{folder}/duckdb-{index}.json")
            lines.append(f"| {name} | {ours:.3f} s | {other:.3f} s | {ours / other:.2f} | {EVENTS / ours / 1e6:.1f} | "
                         f"{'yes' if same else 'NO'} |")
        return lines


if __name__ == "__main__":
    if sys.argv[1:2] == ["duckdb"]:
        duckdb(sys.argv[2])
    else:
        print("\n".join(table(sys.argv[1])))
