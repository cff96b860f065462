#!/usr/bin/env python3
"""How soon a change in etcd is live on every gateway, and how soon a gateway with many routes serves.

Builds a small network on this machine: an etcd and the servers on one host, each gateway on a host (a network namespace) of its own.
A change is a plain put to etcd. It is live when a client outside of a gateway connects through it and gets its echo. Times begin
before the put is sent, so they contain etcd's own commit, which is shown beside them. Prints markdown.
"""

import base64
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import kit

NET = "10.231.0."
HUB = NET + "1"
ECHO, ETCD, ETCD_PEER = 7001, 2379, 2380
FIRST = 20000  # the ports that edits make live, one after another
PREFIX = "/sluice"
# the most operations that etcd takes in one transaction
BATCH = 128


def arguments():
    parser = kit.parser(__doc__)
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--edits", type=int, default=200, help="of each kind")
    parser.add_argument("--routes", type=int, default=10000, help="of the second part")
    parser.add_argument("--starts", type=int, default=5, help="cold starts with that many routes")
    parser.add_argument("--parts", default="fleet,many", help="fleet: edits on all gateways; many: one gateway with many routes")
    return parser.parse_args()


# --- the network ---------------------------------------------------------------------------------------------------------------

def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Host:
    """A network namespace that a sleeping process keeps, joined to the bridge."""

    def __init__(self, number):
        self.address = f"{NET}{10 + number}"
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        kit.until("a namespace", lambda: os.readlink(f"/proc/{self.keeper.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        ip("link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", str(self.keeper.pid))
        ip("link", "set", f"h{number}", "master", "hub", "up")
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{self.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            subprocess.run([*self.inside(), "ip", *words], check=True)

    def inside(self):
        """What goes before a command that is to run on this host."""
        return ["nsenter", "--net", "--target", str(self.keeper.pid)]


class Gateway:
    """One gateway on a host of its own."""

    def __init__(self, number, folder, options):
        self.host, self.folder, self.binary = Host(number), folder / f"gateway-{number}", options.gateway
        self.address, self.process, self.log = self.host.address, None, None
        self.folder.mkdir()
        (self.folder / "sluice.yaml").write_text(f"""gateway:
  proxy_mode: stream
  stream_proxy:
    tcp: ["{FIRST}-{FIRST + options.edits - 1}"]
deployment:
  instance_id: gateway-{number}
  config_provider: etcd
  etcd:
    host: ["http://{HUB}:{ETCD}"]
  admin:
    admin_key:
      - {{name: admin, key: key-of-the-benchmark-000000000001, role: admin}}
telemetry:
  metrics_listen: 0.0.0.0:9091
""")

    def launch(self):
        """Executes it; the time at which that was done."""
        self.log = open(self.folder / "log", "w", encoding="utf-8")
        command = [*self.host.inside(), self.binary, "run", "--config", f"{self.folder}/sluice.yaml"]
        began = time.monotonic()
        self.process = kit.start(command, self.log, cwd=self.folder)
        return began

    def ready(self):
        return get_status(self.address, 9091, "/readyz") == 200

    def start(self):
        began = self.launch()
        kit.until("readiness", self.ready, patience=60, every=0.002, log=self.log)
        return time.monotonic() - began

    def stop(self):
        kit.stop([self.process])
        self.process = None

    def end(self):
        kit.stop([p for p in (self.process, self.host.keeper) if p])


def get_status(host, port, path):
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


class Etcd:
    """etcd in a folder of its own, and one connection to its JSON gateway."""

    def __init__(self, folder):
        self.log = open(folder / "etcd.log", "w", encoding="utf-8")
        client, peer = f"http://{HUB}:{ETCD}", f"http://{HUB}:{ETCD_PEER}"
        self.process = kit.start(["etcd", "--data-dir", f"{folder}/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
                                  "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
                                  "--log-level", "error"], self.log)
        kit.wait_for(ETCD, self.log, HUB)
        self.connection = http.client.HTTPConnection(HUB, ETCD, timeout=30)
        kit.until("etcd", lambda: self.call("/v3/maintenance/status", {}), log=self.log)
        # small writes over a connection that stays
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, path, body):
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"etcd: {answer.status} {text[:200]}")
        return json.loads(text)

    def put(self, name, value):
        self.call("/v3/kv/put", pair(name, value))

    def put_all(self, objects):
        for at in range(0, len(objects), BATCH):
            self.call("/v3/kv/txn", {"success": [{"request_put": pair(*each)} for each in objects[at:at + BATCH]]})

    def clear(self):
        key, end = base(PREFIX + "/"), base(PREFIX + "0")
        self.call("/v3/kv/deleterange", {"key": key, "range_end": end})


def base(text):
    return base64.b64encode(text.encode()).decode()


def pair(name, value):
    return {"key": base(f"{PREFIX}/{name}"), "value": base(json.dumps(value))}


# --- edits ---------------------------------------------------------------------------------------------------------------------

UPSTREAM = {"type": "roundrobin", "nodes": {f"{HUB}:{ECHO}": 1}}


def route_edit(number, port):
    """A port that is open and has no route gets one."""
    return f"stream_routes/edit-{number}", {"server_port": port, "upstream": UPSTREAM}


def listener_edit(number, port):
    """A port that is closed, and would have a route, is opened."""
    return f"listeners/edit-{number}", {"addr": f"0.0.0.0:{port}"}


def echoes(address, port):
    """Whether a client outside is served: connect, send, receive."""
    try:
        with socket.create_connection((address, port), 0.25) as client:
            client.sendall(b"x")
            return client.recv(1) == b"x"
    except OSError:
        return False


def live(etcd, gateways, edit, port):
    """Makes one edit; seconds from before its put until each gateway serves it, and until the put was answered."""
    for gateway in gateways:
        if echoes(gateway.address, port):
            sys.exit(f"port {port} of {gateway.address} is live before the edit")
    answered, began = [], time.monotonic()

    def put():
        etcd.put(*edit)
        answered.append(time.monotonic() - began)

    writer = threading.Thread(target=put)
    writer.start()
    waiting, times = list(gateways), []
    while waiting:
        for gateway in list(waiting):
            if echoes(gateway.address, port):
                times.append(time.monotonic() - began)
                waiting.remove(gateway)
        if time.monotonic() - began > 30:
            sys.exit(f"port {port} is not live on {[g.address for g in waiting]}")
        time.sleep(0.0005)
    writer.join()
    return times, answered[0]


def edits(etcd, gateways, make, count, first):
    """Many edits, at random distances so that they meet the gateways at rest as well as busy."""
    times, puts = [], []
    chance = random.Random(7)
    for number in range(count):
        port = first + number
        took, put = live(etcd, gateways, make(number, port), port)
        times += took
        puts.append(put)
        time.sleep(chance.uniform(0, 0.2))
    return times, puts


def row(name, times, puts, goal):
    ms = [1000 * kit.percentile(values, share) for values in (times, puts) for share in (0.5, 0.99)]
    print(f"{name}: max {1000 * max(times):.1f} ms", file=sys.stderr)
    return f"| {name} | {len(puts)} | {ms[0]:.1f} | {ms[1]:.1f} | {ms[2]:.1f} | {ms[3]:.1f} | {goal} |"


HEAD = ["| edit | edits | live p50, ms | live p99, ms | of it the put p50 | put p99 | goal p99 |", "|---|---|---|---|---|---|---|"]


def fleet(etcd, folder, options):
    """Edits on all gateways together."""
    gateways = []
    try:
        for number in range(options.gateways):
            gateways.append(Gateway(number, folder, options))
            gateways[-1].start()
        rows = [row("stream route", *edits(etcd, gateways, route_edit, options.edits, FIRST), 100)]
        etcd.put("stream_routes/rest", {"upstream": UPSTREAM})
        time.sleep(1)
        rows.append(row("listener", *edits(etcd, gateways, listener_edit, options.edits, FIRST + 2000), 100))
        return [f"### {options.gateways} gateways, one etcd", "", *HEAD, *rows, ""]
    finally:
        for gateway in gateways:
            gateway.end()


# --- many routes ---------------------------------------------------------------------------------------------------------------

def many_routes(count):
    """Routes that differ in everything, each with an upstream of its own."""
    for n in range(count):
        high, low = divmod(n, 250)
        node = f"10.{100 + high // 250}.{high % 250}.{low + 1}:80"
        yield f"stream_routes/r{n}", {"server_port": 1 + n % 9000, "remote_addr": [f"172.16.{high}.{low}"],
                                      "upstream": {"type": "roundrobin", "nodes": {node: 1}}}


def compiled(gateway, since):
    """How many objects each application since then compiled."""
    lines = kit.said(gateway.log)[since:].splitlines()
    return [int(part.split("=")[1]) for line in lines if "configuration applied" in line for part in line.split() if part.startswith("compiled=")]


def many(etcd, folder, options):
    """One gateway with many routes: cold starts, then edits."""
    etcd.put_all(list(many_routes(options.routes)))
    gateway = Gateway(9, folder, options)
    try:
        starts = []
        for _ in range(options.starts):
            if gateway.process:
                gateway.stop()
            starts.append(gateway.start())
        memory = kit.memory_kb(gateway.process.pid) / 1024
        since = len(kit.said(gateway.log))
        times, puts = edits(etcd, [gateway], route_edit, options.edits, FIRST)
        work = compiled(gateway, since)
        out = [f"### {options.routes:,} stream routes in etcd, one gateway", "",
               f"Cold start, from exec to `/readyz` answering 200: median {sorted(starts)[len(starts) // 2]:.2f} s, worst {max(starts):.2f} s "
               f"of {len(starts)} (goal 2 s); {memory:.0f} MB then. Of {len(work)} builds, the largest compiled {max(work)} of "
               f"{options.routes + options.edits:,} objects.", "", *HEAD, row("stream route", times, puts, 50), ""]
        return out
    finally:
        gateway.end()


def main():
    options = arguments()
    kit.own_network()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    ip("link", "add", "hub", "type", "bridge")
    ip("address", "add", f"{HUB}/24", "dev", "hub")
    ip("link", "set", "hub", "up")
    processes, out = [], []
    try:
        processes.append(kit.start([options.load, "echo", f"{HUB}:{ECHO}"], subprocess.DEVNULL))
        etcd = Etcd(folder)
        processes.append(etcd.process)
        for part in options.parts.split(","):
            etcd.clear()
            lines = {"fleet": fleet, "many": many}[part](etcd, folder, options)
            out.append("\n".join(lines))
            print(out[-1], flush=True)
        if options.out:
            pathlib.Path(options.out).write_text("\n".join(out), encoding="utf-8")
    finally:
        kit.stop(processes)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
