#!/usr/bin/env python3
"""Runs the pipeline against a running server and prints a table of its steps.

usage: run.py kafka=HOST:PORT amqp=HOST:PORT blob=HOST:PORT admin=HOST:PORT [hello|flights|telemetry ...]
Exit status: 0 when every step matched, 1 otherwise.
"""
import logging
import sys
import time
import traceback

import flights
import hello
import telemetry
from doors import Doors

PARTS = {"hello": hello, "flights": flights, "telemetry": telemetry}


def main(arguments):
    addresses = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    wanted = [argument for argument in arguments if "=" not in argument] or list(PARTS)
    if set(addresses) != {"kafka", "amqp", "blob", "admin"} or not set(wanted) <= set(PARTS):
        sys.exit(__doc__)
    logging.getLogger("azure").setLevel(logging.ERROR)
    logging.getLogger("kafka").setLevel(logging.ERROR)
    doors = Doors(addresses)
    failed = []
    print(f"{'step':<30}{'events':>10}{'seconds':>10}{'events/s':>12}  match", flush=True)

    def step(title, action):
        started = time.monotonic()
        try:
            events, verdict = action(), "yes"
        except Exception as error:  # every failure is a row of the table
            events, verdict = 0, f"no: {type(error).__name__}: {error}"
            failed.append(title)
        seconds = time.monotonic() - started
        print(f"{title:<30}{events:>10}{seconds:>10.2f}{events / max(seconds, 1e-9):>12.0f}  {verdict}", flush=True)

    for name in wanted:
        try:
            PARTS[name].run(doors, step)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(f"pipeline: {'all steps match' if not failed else 'failed: ' + ', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
