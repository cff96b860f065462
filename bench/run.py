#!/usr/bin/env python3
"""Sluice beside nginx and HAProxy, in one run: who needs how much processor time, and memory, for the same work.

Everything runs in a network namespace of its own, on its loopback. The proxies take turns round by round, so that a slow minute of
the machine hits all of them; the column to trust is the median, over the rounds, of each proxy's cost divided by the least cost of
the same round. Prints markdown.
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
import urllib.request

import kit

ECHO, SINK = 7001, 7002  # the servers behind
PORTS = {"direct": (ECHO, SINK), "nginx": (7111, 7112), "haproxy": (7121, 7122), "sluice": (7131, 7132)}
SCENARIOS = {
    # name: (load, which port, connections, unit, cost per unit in which unit, factor)
    "tcp-rate": ("rate", 0, 64, "connections", "µs", 1e6),
    "tcp-pingpong": ("pingpong", 0, 64, "messages", "µs", 1e6),
    "tcp-bulk": ("bulk", 1, 4, "GB", "s", 1),
    "tcp-idle": ("idle", 0, 2000, "connections", "KB", 1),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", default=str(kit.HERE.parent / "target/release/sluice"), help="the release binary")
    parser.add_argument("--load", default=str(kit.HERE / "target/release/load"), help="the load tool's binary")
    parser.add_argument("--peers", default="direct,nginx,haproxy,sluice")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", help="also write the tables to this file")
    return parser.parse_args()


# --- the peers -----------------------------------------------------------------------------------------------------------------

def nginx(folder, workers):
    echo, sink = PORTS["nginx"]
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    servers = "\n".join(f"  server {{ listen 127.0.0.1:{a} reuseport; proxy_pass 127.0.0.1:{b}; }}" for a, b in ((echo, ECHO), (sink, SINK)))
    (folder / "nginx.conf").write_text(f"""{f'load_module {module};' if module.exists() else ''}
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 9000; }}
stream {{
  tcp_nodelay on;
{servers}
}}
""")
    return ["nginx", "-e", f"{folder}/nginx.log", "-c", f"{folder}/nginx.conf"]


def haproxy(folder, workers):
    echo, sink = PORTS["haproxy"]
    parts = [f"""global
  nbthread {workers}
  maxconn 6000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 300s
  timeout server 300s
"""]
    for name, port, behind in (("echo", echo, ECHO), ("sink", sink, SINK)):
        parts.append(f"listen {name}\n  bind 127.0.0.1:{port}\n  server s 127.0.0.1:{behind}\n")
    (folder / "haproxy.cfg").write_text("".join(parts))
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def sluice(folder, workers, gateway):
    echo, sink = PORTS["sluice"]
    (folder / "sluice.yaml").write_text(f"""gateway:
  proxy_mode: stream
  workers: {workers}
  stream_proxy:
    tcp: ["127.0.0.1:{echo}", "127.0.0.1:{sink}"]
deployment:
  config_provider: embedded
  embedded:
    path: {folder}/store.redb
  admin:
    admin_listen: {{ip: 127.0.0.1, port: 9180}}
    admin_key:
      - {{name: admin, key: key-of-the-benchmark-000000000001, role: admin}}
telemetry:
  access_log:
    enabled: false
""")
    return [gateway, "run", "--config", f"{folder}/sluice.yaml"]


def route_sluice():
    """Routes its two ports, and waits until they are live."""
    for port, behind in zip(PORTS["sluice"], (ECHO, SINK)):
        value = {"server_port": port, "upstream": {"type": "roundrobin", "nodes": {f"127.0.0.1:{behind}": 1}}}
        request = urllib.request.Request(
            f"http://127.0.0.1:9180/apisix/admin/stream_routes/{port}?wait=applied&timeout=10s", json.dumps(value).encode(),
            {"X-API-KEY": "key-of-the-benchmark-000000000001"}, method="PUT")
        urllib.request.urlopen(request, timeout=20).close()


def start_peers(names, folder, gateway):
    log = open(folder / "peers.log", "w", encoding="utf-8")
    workers = os.cpu_count() or 1
    commands = {"nginx": lambda: nginx(folder, workers), "haproxy": lambda: haproxy(folder, workers), "sluice": lambda: sluice(folder, workers, gateway)}
    running = {}
    for name in names:
        if name == "direct":
            continue
        running[name] = kit.start(commands[name](), log)
        if name == "sluice":
            kit.wait_for(9180, log)
            route_sluice()
        for port in PORTS[name]:
            kit.wait_for(port, log)
    return running


# --- measuring -----------------------------------------------------------------------------------------------------------------

def measure(load, name, scenario, seconds, process):
    """(rate, cost per unit) of one peer in one scenario; cost is None where there is no proxy."""
    what, which, connections, _, _, factor = SCENARIOS[scenario]
    command = [load, what, f"127.0.0.1:{PORTS[name][which]}", str(seconds), str(connections)]
    if what == "idle":
        return measure_idle(command, connections, process)
    before = kit.cpu_seconds(process.pid) if process else 0
    result = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=seconds + 60).stdout)
    if result["failed"]:
        sys.exit(f"{name}, {scenario}: {result['failed']} failed")
    # what is still on its way belongs to the measurement
    time.sleep(0.3)
    cost = (kit.cpu_seconds(process.pid) - before) / result["units"] * factor if process else None
    return result["units"] / result["seconds"], cost


def measure_idle(command, connections, process):
    before = kit.memory_kb(process.pid) if process else 0
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "open":
        sys.exit(f"{command}: the connections could not be opened")
    time.sleep(1)
    cost = (kit.memory_kb(process.pid) - before) / connections if process else None
    client.stdin.close()
    client.wait()
    return connections, cost


def table(scenario, results):
    _, _, connections, unit, cost_unit, _ = SCENARIOS[scenario]
    idle = scenario == "tcp-idle"
    kind = "Memory" if idle else "Proxy CPU"
    lines = [f"### {scenario} ({connections} connections)", "", f"| proxy | {unit}{'' if idle else ' a second'} | {kind} per {unit.rstrip('s')}, {cost_unit} | to least, paired |", "|---|---|---|---|"]
    proxies = [n for n in results if results[n][0][1] is not None]
    rounds = len(next(iter(results.values())))
    least = [min(results[n][r][1] for n in proxies) for r in range(rounds)] if proxies else []
    for name, rows in results.items():
        rate = statistics.median(rate for rate, _ in rows)
        if name not in proxies:
            lines.append(f"| {name} | {rate:,.1f} | | |")
            continue
        cost = statistics.median(cost for _, cost in rows)
        ratio = statistics.median(rows[r][1] / least[r] if least[r] > 0 else 1 for r in range(rounds))
        lines.append(f"| {name} | {rate:,.1f} | {cost:.2f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    kit.own_network()
    names, scenarios = options.peers.split(","), options.scenarios.split(",")
    for name in names:
        if name in ("nginx", "haproxy") and not shutil.which(name):
            sys.exit(f"{name} is not installed")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    os.chmod(folder, 0o755)
    servers, peers = [], {}
    try:
        servers = [kit.start([options.load, kind, f"127.0.0.1:{port}"], subprocess.DEVNULL) for kind, port in (("echo", ECHO), ("sink", SINK))]
        for port in (ECHO, SINK):
            kit.wait_for(port)
        out = []
        for scenario in scenarios:
            # fresh processes for each scenario: memory that was used once may stay with them
            peers = start_peers(names, folder, options.gateway)
            idle = scenario == "tcp-idle"
            results = {name: [] for name in names}
            for turn in range(1 if idle else options.rounds + 1):
                order = names[turn % len(names):] + names[:turn % len(names)]
                for name in order:
                    print(f"{scenario} {turn} {name}", file=sys.stderr)
                    # the first round warms up
                    row = measure(options.load, name, scenario, options.seconds if turn else min(1.0, options.seconds), peers.get(name))
                    if turn or idle:
                        results[name].append(row)
            kit.stop(peers.values())
            out.append(table(scenario, results))
            print(out[-1], flush=True)
        if options.out:
            pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(options.out).write_text("\n".join(out), encoding="utf-8")
    finally:
        kit.stop([*peers.values(), *servers])
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
