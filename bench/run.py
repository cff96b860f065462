#!/usr/bin/env python3
"""Sluice beside nginx and HAProxy, in one run: who needs how much processor time, and memory, for the same work.

Everything runs in a network namespace of its own, on its loopback. The proxies take turns round by round, so that a slow minute of
the machine hits all of them; the column to trust is the median, over the rounds, of each proxy's cost divided by the least cost of
the same round. Prints markdown.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import kit
import peers

# sends each request to another of the many routes
LUA = """local n, routes, paths = 0, {routes}, {paths}
request = function()
  n = (n * 5 + 7919) % routes
  return wrk.format("GET", "/path-" .. n % paths, {{["Host"] = "host-" .. math.floor(n / paths) .. ".example"}})
end
"""


def tool(what, connections, size=64):
    """Our own load tool."""
    return lambda o, at, count=connections: ([o.load, what, f"127.0.0.1:{at}", str(o.seconds), str(count), str(size)], json.loads)


def wrk(connections, *more):
    """wrk over HTTP/1.1; it asks every route of a service that has many."""
    def command(o, at):
        script, hosts = [], peers.SERVICES[o.service].hosts
        if hosts:
            (o.folder / "load.lua").write_text(LUA.format(routes=hosts * peers.PATHS, paths=peers.PATHS))
            script = ["-s", f"{o.folder}/load.lua"]
        return ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(o.seconds))}s", *more, *script, f"http://127.0.0.1:{at}/"], read_wrk
    return command


def read_wrk(text):
    done = re.search(r"(\d+) requests in ([\d.]+)(m?s)", text)
    failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text)))
    return {"units": int(done[1]), "seconds": float(done[2]) / (1000 if done[3] == "ms" else 1), "failed": failed}


def h2load(clients, streams):
    """h2load: HTTP/2, over TLS where the service has it."""
    def read(text):
        done = re.search(r"finished in ([\d.]+)(m?s)", text)
        seconds = float(done[1]) / (1000 if done[2] == "ms" else 1)
        return {"units": int(re.search(r"(\d+) 2xx", text)[1]), "seconds": seconds, "failed": int(re.search(r"(\d+) failed", text)[1])}
    return lambda o, at: (["h2load", "-t1", f"-c{clients}", f"-m{streams}", f"-D{max(1, round(o.seconds))}", f"{'https' if peers.SERVICES[o.service].protocol == 'https' else 'http'}://localhost:{at}/"], read)


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison."""
    service: str
    load: object
    unit: str
    says: str  # what is beside the name in the heading
    per: str = "µs"
    factor: float = 1e6
    rest: int = 0  # so many connections or sessions stay: memory is measured, not time
    settle: float = 0.3  # what is still on its way after so many seconds belongs to the measurement
    against: str = ""  # a second service of the same proxy, instead of other proxies


def at_rest(service, what, count, unit):
    return Row(service, tool(what, count), unit, f"{count:,} {unit}s", "KB", 1, rest=count)


ROWS = {
    "tcp-rate": Row("echo", tool("rate", 64), "connection", "64 connections"),
    "tcp-pingpong": Row("echo", tool("pingpong", 64), "message", "64 connections"),
    "tcp-bulk": Row("sink", tool("bulk", 4), "GB", "4 connections", "s", 1),
    "tcp-idle": at_rest("echo", "idle", 4000, "connection"),
    "tcp-limited": Row("limited", tool("rate", 64), "connection", "64 connections", against="echo"),
    "udp-64": Row("udp", tool("udp-packets", 16, 64), "datagram", "16 sessions, 4 datagrams under way on each"),
    "udp-1200": Row("udp", tool("udp-packets", 16, 1200), "datagram", "16 sessions, 4 datagrams under way on each"),
    # until the sessions have ended
    "udp-sessions": Row("udp", tool("udp-sessions", 6000), "session", "6,000 sessions of one exchange", settle=5),
    "udp-idle": at_rest("udp-rest", "udp-idle", 4000, "session"),
    "tls-rate": Row("tls-echo", tool("tls-rate", 16), "connection", "16 connections, full TLS 1.3 handshakes"),
    "tls-bulk": Row("tls-sink", tool("tls-bulk", 4), "GB", "4 connections", "s", 1),
    "tls-idle": at_rest("tls-echo", "tls-idle", 2000, "connection"),
    "http1-keepalive": Row("http", wrk(64), "request", "HTTP/1.1, 64 connections"),
    "http1-connection": Row("http", wrk(64, "-H", "Connection: close"), "request", "HTTP/1.1, one request a connection"),
    "http1-10k-routes": Row("http-10k", wrk(64), "request", "10,000 routes by host and path"),
    "http1-routes": Row("http-10k", wrk(64), "request", "10,000 routes beside 10", against="http-10"),
    "http2-clear": Row("h2c", h2load(8, 32), "request", "HTTP/2 by prior knowledge, 8 connections of 32 streams"),
    "http2-tls": Row("https", h2load(8, 32), "request", "HTTP/2 over TLS, 8 connections of 32 streams"),
}


# at rest before the others are counted
WARM = 500


def arguments():
    parser = kit.parser(__doc__)
    parser.add_argument("--peers", default="direct,nginx,haproxy,sluice")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


# --- measuring -----------------------------------------------------------------------------------------------------------------

def measure(options, row, name, at, process):
    """(rate, cost per unit) of one proxy; cost is None where there is no proxy."""
    command, read = row.load(options, at)
    if row.rest:
        return measure_rest(options, row, at, process)
    before = kit.cpu_seconds(process.pid) if process else 0
    result = read(subprocess.run(command, check=True, capture_output=True, text=True, timeout=options.seconds + 60).stdout)
    if result["failed"] or not result["units"]:
        sys.exit(f"{name}, {' '.join(map(str, command))}: {result}")
    time.sleep(row.settle)
    cost = (kit.cpu_seconds(process.pid) - before) / result["units"] * row.factor if process else None
    return result["units"] / result["seconds"], cost


def measure_rest(options, row, at, process):
    """Memory of each that is at rest, once some are: what the first ones bring about is no cost of the next one."""
    held = [hold(row.load(options, at, WARM)[0])]
    before = kit.memory_kb(process.pid) if process else 0
    held.append(hold(row.load(options, at)[0]))
    cost = (kit.memory_kb(process.pid) - before) / row.rest if process else None
    for client in held:
        client.stdin.close()
        client.wait()
    return row.rest, cost


def hold(command):
    """A client that holds what it opened until its input ends."""
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "open":
        sys.exit(f"{command}: they could not be opened")
    time.sleep(1)
    return client


def entrants(options, row):
    """Who takes part: label, proxy, service."""
    names = options.peers.split(",")
    if row.against:
        return [(f"{n}, {s}", n, s) for n in names if n == "sluice" for s in (row.against, row.service)]
    return [(n, n, row.service) for n in names if n != "direct" or peers.SERVICES[row.service].protocol in ("tcp", "udp", "http")]


def run(options, name, row, folder):
    """One row: everybody in turn, round by round. Fresh processes: memory that was used once may stay with them."""
    taking, running = entrants(options, row), {}
    (folder / "store.redb").unlink(missing_ok=True)
    try:
        for proxy in {proxy for _, proxy, _ in taking} - {"direct"}:
            services = [service for _, p, service in taking if p == proxy]
            try:
                running[proxy] = peers.start(proxy, services, folder, os.cpu_count() or 1, options.gateway)
            except peers.Unserved as reason:
                print(f"{name}: not served by {proxy} {reason}", file=sys.stderr)
                taking = [each for each in taking if each[1] != proxy]
        results = {label: [] for label, _, _ in taking}
        for turn in range(1 if row.rest else options.rounds + 1):
            first = turn % max(1, len(taking))
            for label, proxy, service in taking[first:] + taking[:first]:
                # the first round warms up
                seconds = options.seconds if turn or row.rest else min(1.0, options.seconds)
                quick = argparse.Namespace(**{**vars(options), "seconds": seconds, "service": service})
                result = measure(quick, row, label, peers.port(proxy, service), running.get(proxy))
                print(f"{name} {turn} {label}: {result}", file=sys.stderr)
                if turn or row.rest:
                    results[label].append(result)
        return results
    finally:
        kit.stop(running.values())


def table(name, row, results):
    kind = "Memory" if row.rest else "Proxy CPU"
    units = row.unit if row.unit == "GB" else row.unit + "s"
    lines = [f"### {name} ({row.says})", "",
             f"| proxy | {units}{'' if row.rest else ' a second'} | {kind} per {row.unit}, {row.per} | to {'the first' if row.against else 'least'}, paired |", "|---|---|---|---|"]
    proxies = [n for n, rows in results.items() if rows[0][1] is not None]
    rounds = len(next(iter(results.values())))
    # two services of one proxy are compared with the first of them
    base = proxies[:1] if row.against else proxies
    least = [min(results[n][r][1] for n in base) for r in range(rounds)] if proxies else []
    for label, rows in results.items():
        rate = statistics.median(rate for rate, _ in rows)
        if label not in proxies:
            lines.append(f"| {label} | {rate:,.1f} | | |")
            continue
        cost = statistics.median(cost for _, cost in rows)
        ratio = statistics.median(rows[r][1] / least[r] if least[r] > 0 else 1 for r in range(rounds))
        lines.append(f"| {label} | {rate:,.1f} | {cost:.2f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    unknown = [name for name in options.rows.split(",") if name not in ROWS]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}")
    kit.own_network()
    kit.open_files()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    os.chmod(folder, 0o755)
    options.folder, servers, out = folder, [], []
    try:
        peers.certificate(folder)
        for kind, at in peers.BEHIND.items():
            servers.append(kit.start([options.load, kind, f"127.0.0.1:{at}"], subprocess.DEVNULL))
            kit.until(kind, lambda at=at, kind=kind: peers.bound(at) if kind.startswith("udp") else kit.listens(at))
        for name in options.rows.split(","):
            results = {}
            # allocators grow in steps, so memory is asked of several fresh processes
            for _ in range(3 if ROWS[name].rest else 1):
                for label, rows in run(options, name, ROWS[name], folder).items():
                    results.setdefault(label, []).extend(rows)
            if results:
                out.append(table(name, ROWS[name], results))
                print(out[-1], flush=True)
        if options.out:
            pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(options.out).write_text("\n".join(out), encoding="utf-8")
    finally:
        kit.stop(servers)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
