#!/usr/bin/env python3
"""Measures the server against its yardsticks in one run and prints a table.

usage: bench/run.py [--write] [CASE...]     builds what it needs in build/bench

Produce cases run the same load, first on the null broker (checks CRC-32C, writes to the page cache, answers; with one
fdatasync per dirty file for acks=all), then on Weir, in turn, and compare CPU seconds of the server process. --write puts the
table into bench/results.md with machine, date and commit.
"""
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import sql

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/bench"
TICK = os.sysconf("SC_CLK_TCK")
ROUNDS = 3


def build():
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(BUILD), "-Dbuildtype=release", "-Dtests=false", "-Dbench=true"],
                       cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(BUILD), "--quiet"], check=True)


def cpu_seconds(pid):
    """User and system time of a process, in seconds to the nanosecond where the kernel tells it."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


class Weir:
    name = "weir"

    def __init__(self, folder, *arguments):
        started = time.monotonic()
        self.folder = folder
        self.process = subprocess.Popen(
            [BUILD / "weir", "serve", "--data", folder, "--kafka-port", "0", "--amqp-port", "0", "--blob-port", "0",
             "--admin-port", "0", *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.start_ms = (time.monotonic() - started) * 1000
        fields = dict(pair.split("=") for pair in line.split()[1:])
        self.host, self.port = fields["kafka"].rsplit(":", 1)
        self.admin = fields["admin"]

    def create(self, topic, partitions):
        subprocess.run([BUILD / "weir", "topic", "create", topic, "-p", str(partitions), "--admin", self.admin],
                       check=True, stdout=subprocess.DEVNULL)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()


class Null(Weir):
    name = "null"

    def __init__(self, folder, *arguments):
        os.makedirs(folder)
        self.process = subprocess.Popen([BUILD / "bench/null_broker", folder, *arguments], stdout=subprocess.PIPE,
                                        text=True)
        self.host, self.port = "127.0.0.1", self.process.stdout.readline().split()[1]

    def create(self, topic, partitions):
        pass


def load(server, topic, **options):
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    before = cpu_seconds(server.process.pid)
    done = subprocess.run([BUILD / "bench/load", server.host, server.port, topic, *arguments], check=True,
                          stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    result["cpu"] = cpu_seconds(server.process.pid) - before
    return result


PRODUCE = {
    "1 KiB records, 1 MiB batches, acks=1": dict(
        topic_partitions=1, unit="GB", limit=1.5,
        load=dict(connections=4, inflight=4, record=1024, batch=1 << 20, acks=1, requests=2000, warmup=0)),
    "1 KiB records, 1 MiB batches, acks=all": dict(
        topic_partitions=1, unit="GB", sync=True,
        load=dict(connections=4, inflight=4, record=1024, batch=1 << 20, acks=-1, requests=2000, warmup=0)),
    "single 100 B records, 64 connections, acks=1": dict(
        topic_partitions=1, unit="request", limit=3,
        load=dict(connections=64, inflight=1, record=100, batch=1, acks=1, requests=200000, warmup=0)),
    "single 100 B records, 64 connections, acks=all": dict(
        topic_partitions=1, unit="request", sync=True,
        load=dict(connections=64, inflight=1, record=100, batch=1, acks=-1, requests=100000, warmup=0)),
    "100 partitions, 16 KiB batches, acks=1": dict(
        topic_partitions=100, unit="request",
        load=dict(connections=16, inflight=4, record=1024, batch=16384, acks=1, requests=40000, warmup=0)),
    "100 partitions, 16 KiB batches, acks=all": dict(
        topic_partitions=100, unit="request", sync=True,
        load=dict(connections=16, inflight=4, record=1024, batch=16384, acks=-1, requests=20000, warmup=0)),
    "one record in flight, acks=1 (round trip)": dict(
        topic_partitions=1, unit="request",
        load=dict(connections=1, inflight=1, record=100, batch=1, acks=1, requests=20000, warmup=0)),
    "one record in flight, acks=all (round trip)": dict(
        topic_partitions=1, unit="request", sync=True,
        load=dict(connections=1, inflight=1, record=100, batch=1, acks=-1, requests=5000, warmup=0)),
}


def figure(case, result):
    if case["unit"] == "GB":
        return result["cpu"] / (result["bytes"] / 1e9)
    return result["cpu"] / result["requests"] * 1e6


def run_produce(name):
    case = PRODUCE[name]
    runs = {"weir": [], "null": []}
    for round_number in range(ROUNDS):
        for kind in (Null, Weir):
            folder = tempfile.mkdtemp(prefix="weir-bench.")
            arguments = ["--sync"] if kind is Null and case.get("sync") else []
            server = kind(folder + "/data", *arguments)
            server.create("bench", case["topic_partitions"])
            load(server, "bench", partitions=case["topic_partitions"], **{**case["load"], "requests": 200})
            runs[kind.name].append(load(server, "bench", partitions=case["topic_partitions"], **case["load"]))
            server.stop()
            shutil.rmtree(folder)
    middle = {kind: statistics.median(figure(case, result) for result in results) for kind, results in runs.items()}
    rate = {kind: statistics.median(result["requests"] / result["seconds"] for result in results)
            for kind, results in runs.items()}
    tail = {kind: tuple(statistics.median(result[key] for result in results) for key in ("p50_us", "p99_us"))
            for kind, results in runs.items()}
    unit = "s/GB" if case["unit"] == "GB" else "µs/request"
    return (f"| {name} | {middle['weir']:.2f} {unit} | {middle['null']:.2f} {unit} | {middle['weir'] / middle['null']:.2f} | "
            f"{rate['weir']:.0f} / {rate['null']:.0f} | {tail['weir'][0]:.0f} / {tail['weir'][1]:.0f} | "
            f"{tail['null'][0]:.0f} / {tail['null'][1]:.0f} |")


def resident_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run_start():
    """Start to listening with an empty folder, idle memory, and the start after SIGKILL with 1 GB just written."""
    starts, resident = [], []
    for _ in range(5):
        folder = tempfile.mkdtemp(prefix="weir-bench.")
        server = Weir(folder + "/data")
        starts.append(server.start_ms)
        time.sleep(1)
        resident.append(resident_mib(server.process.pid))
        server.stop()
        shutil.rmtree(folder)
    folder = tempfile.mkdtemp(prefix="weir-bench.")
    server = Weir(folder + "/data")
    server.create("bench", 4)
    load(server, "bench", partitions=4, connections=4, inflight=4, record=1024, batch=1 << 20, acks=1, requests=1000)
    server.stop(signal.SIGKILL)
    server = Weir(folder + "/data")
    again = server.start_ms
    server.stop()
    shutil.rmtree(folder)
    return [f"| start to listening, empty folder | {statistics.median(starts):.0f} ms |",
            f"| resident when idle | {statistics.median(resident):.1f} MiB |",
            f"| listening again after SIGKILL, 1 GB just written | {again:.0f} ms |"]


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{os.cpu_count()} cores of {model}, kernel {platform.release()}, commit {commit}, {time.strftime('%Y-%m-%d')}"


def main(arguments):
    build()
    write = "--write" in arguments
    wanted = [argument for argument in arguments if not argument.startswith("--")]
    lines = [f"{machine()}; median of {ROUNDS}, null broker and Weir in turn.", "",
             "| produce | Weir CPU | null CPU | ratio | requests/s | Weir p50 / p99 µs | null p50 / p99 µs |",
             "|---|---|---|---|---|---|---|"]
    for name in PRODUCE:
        if not wanted or any(word in name for word in wanted):
            lines.append(run_produce(name))
            print(lines[-1], flush=True)
    if not wanted:
        lines += ["", "| process | |", "|---|---|", *run_start()]
    if not wanted or "sql" in wanted:
        lines += ["", *sql.table(BUILD / "weir")]
    text = "\n".join(lines) + "\n"
    if write:
        (ROOT / "bench/results.md").write_text("# Results\n\nMade by `bench/run.py --write`.\n\n" + text)
    else:
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
