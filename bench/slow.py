#!/usr/bin/env python3
"""What other clients notice of slow ones: slowhttptest's four ways, each beside the same load without it.

500 paced requests a second on 50 connections, answered with 16 KB; in turn without and with as many slow clients as told. They run at
the lowest priority, because a real one has a machine of its own. Prints markdown; ends with 1 where a request failed.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import kit
import peers

RATE, CLIENTS = 500, 50
OPENED = 500  # slow connections a second
WAYS = {
    "slow heads": ["-H", "-x", "24"],
    "slow bodies": ["-B", "-s", "8192", "-x", "10"],
    "overlapping ranges": ["-R", "-a", "5", "-b", "3000"],
    "slow reading": ["-X", "-w", "256", "-y", "512", "-n", "1", "-z", "32", "-k", "3"],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", default=str(kit.HERE.parent / "target/release/sluice"), help="the release binary")
    parser.add_argument("--load", default=str(kit.HERE / "target/release/load"), help="the load tool's binary")
    parser.add_argument("--connections", type=int, default=1000, help="slow ones")
    parser.add_argument("--every", type=int, default=10, help="seconds between two pieces of a slow head or body; the tool's own default")
    parser.add_argument("--peer", default="sluice", choices=list(peers.PEERS))
    parser.add_argument("--ways", default=",".join(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--out", help="also write the table to this file")
    return parser.parse_args()


def paced(options, at):
    """What the other clients saw."""
    command = [options.load, "http-paced", f"127.0.0.1:{at}", str(options.seconds), str(CLIENTS), str(RATE)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def held(at):
    """Connections to a port that are open."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in lines if line.split()[1].endswith(f":{at:04X}") and line.split()[3] == "01")


def attacked(options, at, way):
    """The same while slow clients are there."""
    opening = options.connections / OPENED
    lasts = str(round(opening + options.seconds + 10))
    command = ["nice", "-n", "19", "slowhttptest", *WAYS[way], "-c", str(options.connections), "-r", str(OPENED), "-l", lasts, "-i", str(options.every),
               "-u", f"http://127.0.0.1:{at}/", "-p", "3"]
    slow = kit.start(command, subprocess.DEVNULL)
    try:
        time.sleep(opening + 1)
        seen = {"slow": held(at)} | paced(options, at)
        if slow.poll() not in (None, 0):
            sys.exit(f"{' '.join(command)}: ended with {slow.returncode}")
    finally:
        kit.stop([slow])
    return seen


def table(options, rounds):
    lines = [f"### slow clients ({options.peer}; {options.connections:,} of each way, a piece every {options.every} s)", "",
             "| way | open at once | requests of others | failed | p50, µs | p99 without, µs | p99 with, µs | p99 to without, paired |",
             "|---|---|---|---|---|---|---|---|"]
    for way, pairs in rounds.items():
        grown = statistics.median(with_["p99_us"] / without["p99_us"] for without, with_ in pairs)
        told = {key: statistics.median(with_[key] for _, with_ in pairs) for key in ("slow", "p50_us", "p99_us")}
        without = statistics.median(without["p99_us"] for without, _ in pairs)
        requests, failed = (sum(each[key] for pair in pairs for each in pair) for key in ("echoes", "failed"))
        lines.append(f"| {way} | {told['slow']:,.0f} | {requests:,} | {failed} | {told['p50_us']:.0f} | {without:.0f} | {told['p99_us']:.0f} | {grown:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    kit.own_network()
    kit.open_files()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    running, rounds = [], {way: [] for way in options.ways.split(",")}
    try:
        behind = peers.BEHIND["http-bodies"]
        running.append(kit.start([options.load, "http-bodies", f"127.0.0.1:{behind}"], subprocess.DEVNULL))
        kit.wait_for(behind)
        running.append(peers.start(options.peer, ["http-bodies"], folder, os.cpu_count() or 1, options.gateway))
        at = peers.port(options.peer, "http-bodies")
        paced(argparse.Namespace(**{**vars(options), "seconds": 1}), at)
        for _ in range(options.rounds):
            for way, pairs in rounds.items():
                # either one begins in its turn
                if len(pairs) % 2:
                    with_ = attacked(options, at, way)
                    pairs.append((paced(options, at), with_))
                else:
                    pairs.append((paced(options, at), attacked(options, at, way)))
                print(way, pairs[-1], file=sys.stderr)
        out = table(options, rounds)
        print(out)
        if options.out:
            pathlib.Path(options.out).write_text(out, encoding="utf-8")
        if any(each["failed"] for pairs in rounds.values() for pair in pairs for each in pair):
            sys.exit(1)
    finally:
        kit.stop(running)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
