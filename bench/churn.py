#!/usr/bin/env python3
"""What clients of one listener notice while others come and go.

5,000 connections to one listener, of which 2,000 a second close and as many open, and 1,000 echoes a second on the rest. In turn
without and with 20 listeners added and 20 removed each second through the Admin API. Prints markdown.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import kit
import peers

CONNECTIONS = 5000
EDITS = 20  # listeners added, and as many removed, a second
FIRST = 30000


def arguments():
    parser = kit.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    return parser.parse_args()


class Edits(threading.Thread):
    """Adds and removes listeners at a steady pace until it is told to end. An operator's tool runs on a machine of its own; here it gets
    the processor time that nobody else wants, so that what is seen comes from the gateway."""

    def __init__(self):
        super().__init__()
        self.ending, self.made, self.failure = threading.Event(), 0, None

    def run(self):
        began = time.monotonic()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            while not self.ending.is_set():
                at = FIRST + self.made % 1000
                peers.admin("PUT", f"listeners/churn-{at}", {"protocol": "tcp", "addr": f"127.0.0.1:{at}"})
                if self.made >= EDITS:
                    peers.admin("DELETE", f"listeners/churn-{FIRST + (self.made - EDITS) % 1000}")
                self.made += 1
                self.ending.wait(max(0, began + self.made / EDITS - time.monotonic()))
        except Exception as failure:  # told by whoever waits for the thread
            self.failure = failure

    def end(self):
        self.ending.set()
        self.join()
        if self.failure:
            sys.exit(f"an edit failed: {self.failure}")
        for number in range(max(0, self.made - EDITS), self.made):
            peers.admin("DELETE", f"listeners/churn-{FIRST + number % 1000}")
        return self.made


def once(options, edited):
    """What the clients saw, and how many listeners were added meanwhile."""
    command = [options.load, "churn", f"127.0.0.1:{peers.port('sluice', 'echo')}", str(options.seconds), str(CONNECTIONS)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "open":
        sys.exit("the connections could not be opened")
    edits = Edits()
    if edited:
        edits.start()
    seen = json.loads(client.stdout.readline())
    client.wait()
    return seen | {"added": edits.end() if edited else 0}


def table(rounds):
    lines = [f"### churn ({CONNECTIONS:,} connections)", "",
             "| listeners added a second | connections opened | failed | echo p50, µs | echo p99, µs | p99 to without, paired |", "|---|---|---|---|---|---|"]
    grown = statistics.median(with_edits["p99_us"] / without["p99_us"] for without, with_edits in rounds)
    for at, name in enumerate(("0", str(EDITS))):
        rows = [each[at] for each in rounds]
        p50, p99 = (statistics.median(row[key] for row in rows) for key in ("p50_us", "p99_us"))
        opened, failed = (sum(row[key] for row in rows) for key in ("opened", "failed"))
        lines.append(f"| {name} | {opened:,} | {failed} | {p50:.0f} | {p99:.0f} | {grown if at else 1:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    kit.own_network()
    kit.open_files()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    running = []
    try:
        running.append(kit.start([options.load, "echo", f"127.0.0.1:{peers.BEHIND['echo']}"], subprocess.DEVNULL))
        kit.wait_for(peers.BEHIND["echo"])
        running.append(peers.start("sluice", ["echo"], folder, os.cpu_count() or 1, options.gateway))
        rounds = []
        for turn in range(options.rounds):
            # either one begins in its turn
            seen = {edited: once(options, edited) for edited in ((False, True) if turn % 2 else (True, False))}
            print(turn, seen, file=sys.stderr)
            rounds.append((seen[False], seen[True]))
        out = table(rounds)
        print(out)
        if options.out:
            pathlib.Path(options.out).write_text(out, encoding="utf-8")
    finally:
        kit.stop(running)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
