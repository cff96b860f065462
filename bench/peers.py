"""What each proxy is told: one configuration for any set of services. A service is a port of the proxy with a server behind it."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import kit

# the servers behind
BEHIND = {"echo": 7001, "sink": 7002, "udp-echo": 7003, "http": 7004, "http-bodies": 7005}
ADMIN, METRICS, CONTROL = 9180, 9091, 9092
KEY = "key-of-the-benchmark-000000000001"
NAME = "bench.example"
# objects that are stored in one transaction
BATCH = 100
# paths of each host of a service with many routes
PATHS = 10


@dataclasses.dataclass(frozen=True)
class Service:
    """A port of every proxy that serves it."""
    at: int
    protocol: str  # tcp, udp, tls, http, h2c, https
    behind: str
    timeout: int = 300  # seconds at rest
    limited: bool = False
    hosts: int = 0  # with a route for each of their paths; none: one route for everything


SERVICES = {
    "echo": Service(0, "tcp", "echo"),
    "sink": Service(1, "tcp", "sink"),
    "udp": Service(2, "udp", "udp-echo", timeout=2),
    "udp-rest": Service(3, "udp", "udp-echo"),
    "tls-echo": Service(4, "tls", "echo"),
    "tls-sink": Service(5, "tls", "sink"),
    "http": Service(6, "http", "http"),
    "https": Service(7, "https", "http"),
    "http-10k": Service(8, "http", "http", hosts=1000),
    "limited": Service(9, "tcp", "echo", limited=True),
    "http-10": Service(10, "http", "http", hosts=1),
    "http-bodies": Service(11, "http", "http-bodies"),
    "h2c": Service(12, "h2c", "http"),
}


# what a node is told of the client, as Sluice does unasked
FORWARDED = (
    "http-request set-header X-Forwarded-For %[src]",
    "http-request set-header X-Forwarded-Host %[req.hdr(Host)]",
    "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
)


class Unserved(Exception):
    """The proxy, or this build of it, has no such service."""


def port(proxy, name):
    service = SERVICES[name]
    return BEHIND[service.behind] if proxy == "direct" else 7100 + 20 * list(PEERS).index(proxy) + service.at


def routes(service):
    """The host and path of every route."""
    return [(f"host-{h}.example", f"/path-{p}") for h in range(service.hosts) for p in range(PATHS)]


def certificate(folder):
    """A self-signed P-256 certificate: files of the chain, of the key, and of both."""
    chain, key, both = (folder / name for name in ("chain.pem", "key.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", f"/CN={NAME}",
                    "-addext", f"subjectAltName=DNS:{NAME},DNS:localhost", "-keyout", key, "-out", chain], check=True, capture_output=True)
    both.write_text(chain.read_text() + key.read_text())


# --- nginx ---------------------------------------------------------------------------------------------------------------------

def nginx(folder, names, workers, _):
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    stream, web = [], []
    for name in names:
        service, at = SERVICES[name], port("nginx", name)
        behind = f"127.0.0.1:{BEHIND[service.behind]}"
        tls = f"ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;"
        if service.limited:
            raise Unserved
        match service.protocol:
            case "tcp":
                stream.append(f"server {{ listen 127.0.0.1:{at} reuseport; proxy_pass {behind}; }}")
            case "udp":
                stream.append(f"server {{ listen 127.0.0.1:{at} udp reuseport; proxy_pass {behind}; proxy_timeout {service.timeout}s; }}")
            case "tls":
                stream.append(f"server {{ listen 127.0.0.1:{at} ssl reuseport; {tls} proxy_pass {behind}; }}")
            case "http" | "h2c" | "https":
                there = f"location {{}} {{{{ proxy_pass http://{service.behind}; }}}}"
                words = {"http": "{};", "h2c": " http2{};", "https": f" ssl http2 reuseport; {tls}"}
                listen = f"listen 127.0.0.1:{at}{words[service.protocol]}"
                if service.hosts:
                    for host in range(service.hosts):
                        places = " ".join(there.format(f"= /path-{p}") for p in range(PATHS))
                        web.append(f"server {{ {listen.format('' if host else ' reuseport')} server_name host-{host}.example; {places} }}")
                else:
                    web.append(f"server {{ {listen.replace('{}', ' reuseport')} {there.format('/')} }}")
    (folder / "nginx.conf").write_text(f"""{f'load_module {module};' if module.exists() else ''}
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit; worker_rlimit_nofile 20000;
events {{ worker_connections 9900; }}
stream {{
  tcp_nodelay on;
  {chr(10).join(stream)}
}}
http {{
  access_log off; keepalive_requests 1000000000; server_names_hash_max_size 8192; server_names_hash_bucket_size 128;
  {chr(10).join(f"upstream {kind} {{ server 127.0.0.1:{BEHIND[kind]}; keepalive 256; keepalive_requests 1000000000; }}" for kind in ("http", "http-bodies"))}
  proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
  {chr(10).join(web)}
}}
""")
    return ["nginx", "-e", f"{folder}/nginx.log", "-c", f"{folder}/nginx.conf"]


# --- HAProxy -------------------------------------------------------------------------------------------------------------------

def haproxy(folder, names, workers, _):
    parts = [f"""global
  nbthread {workers}
  maxconn 6000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  option splice-auto
  timeout connect 5s
  timeout client 300s
  timeout server 300s
"""]
    for name in names:
        service = SERVICES[name]
        bind, server = f"bind 127.0.0.1:{port('haproxy', name)}", f"server s 127.0.0.1:{BEHIND[service.behind]}"
        tls = f"ssl crt {folder}/both.pem"
        if service.protocol == "udp" or service.limited:
            raise Unserved
        match service.protocol:
            case "tcp":
                lines = ["mode tcp", bind, server]
            case "tls":
                lines = ["mode tcp", f"{bind} {tls}", server]
            case _:
                spoken = {"http": "", "h2c": " proto h2", "https": f" {tls} alpn h2,http/1.1"}
                lines = ["mode http", bind + spoken[service.protocol], "http-reuse always", *FORWARDED, server]
        if service.hosts:
            (folder / f"{name}.map").write_text("".join(f"{host}{path} behind-{name}\n" for host, path in routes(service)))
            parts.append(f"backend behind-{name}\n  mode http\n  http-reuse always\n  {server}\n")
            parts.append(f"frontend {name}\n  mode http\n  {bind}\n  " + "\n  ".join(FORWARDED) + f"\n  use_backend %[base,map_str({folder}/{name}.map)]\n")
        else:
            parts.append(f"listen {name}\n" + "".join(f"  {line}\n" for line in lines))
    (folder / "haproxy.cfg").write_text("".join(parts))
    return ["haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


# --- Sluice --------------------------------------------------------------------------------------------------------------------

def sluice(folder, _names, workers, gateway):
    (folder / "sluice.yaml").write_text(f"""gateway:
  workers: {workers}
deployment:
  config_provider: embedded
  embedded:
    path: {folder}/store.redb
  admin:
    admin_listen: {{ip: 127.0.0.1, port: {ADMIN}}}
    admin_key:
      - {{name: admin, key: {KEY}, role: admin}}
telemetry:
  metrics_listen: 127.0.0.1:{METRICS}
  control_listen: 127.0.0.1:{CONTROL}
  access_log:
    enabled: false
""")
    return [gateway, "run", "--config", f"{folder}/sluice.yaml"]


def admin(method, path, value=None):
    """Asks the Admin API; what it refuses is not served."""
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{ADMIN}/apisix/admin/{path}", body, {"X-API-KEY": KEY}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise Unserved(f"{path}: {error.code} {error.read()[:300].decode(errors='replace')}") from None


LIMIT = {"policy": "token_bucket", "by": "total", "permit_limit": 1000000, "tokens_per_period": 1000000, "window": "100ms"}


def tell_sluice(folder, names):
    """Stores the objects of the services, and waits until they are live."""
    objects = []
    for name in names:
        service = SERVICES[name]
        upstream = {"type": "roundrobin", "nodes": {f"127.0.0.1:{BEHIND[service.behind]}": 1}}
        listener = {"protocol": "udp" if service.protocol == "udp" else "tcp", "addr": f"127.0.0.1:{port('sluice', name)}"}
        if service.protocol in ("tls", "https"):
            listener["tls"] = True
            pem = {"cert": (folder / "chain.pem").read_text(), "key": (folder / "key.pem").read_text()}
            objects.append(("ssls/bench", {"snis": [NAME, "localhost"], **pem}))
        if service.protocol in ("http", "h2c", "https"):
            listener["protocol"] = "http"
            matches = [{"hosts": [host], "paths": [path]} for host, path in routes(service)] if service.hosts else [{"paths": ["*"]}]
            objects.append((f"upstreams/{name}", upstream))
            objects += [(f"routes/{name}-{n}", {"match": match, "upstream_id": name}) for n, match in enumerate(matches)]
        else:
            route = {"server_port": port("sluice", name), "upstream": upstream}
            route |= {"timeout": service.timeout} if service.protocol == "udp" else {}
            route |= {"limit": LIMIT} if service.limited else {}
            objects.append((f"stream_routes/{name}", route))
        objects.append((f"listeners/{name}", listener))
    for at in range(0, len(objects), BATCH):
        put = {}
        for path, value in objects[at:at + BATCH]:
            kind, name = path.split("/")
            put.setdefault(kind, []).append({"id": name, **value})
        admin("POST", "apply?wait=applied&timeout=10s", {"put": put})


PEERS = {"nginx": nginx, "haproxy": haproxy, "sluice": sluice}


def start(proxy, names, folder, workers, gateway):
    """Starts a proxy with these services and waits until it serves them. Raises [Unserved]."""
    if proxy != "sluice" and not shutil.which(proxy):
        sys.exit(f"{proxy} is not installed")
    command = PEERS[proxy](folder, names, workers, gateway)
    log = open(folder / f"{proxy}.log.txt", "w", encoding="utf-8")
    process = kit.start(command, log, cwd=folder)
    try:
        if proxy == "sluice":
            kit.wait_for(ADMIN, log)
            tell_sluice(folder, names)
        for name in names:
            if SERVICES[name].protocol != "udp":
                kit.wait_for(port(proxy, name), log)
            else:
                kit.until(f"{proxy}'s {name}", lambda at=port(proxy, name): bound(at), log=log)
    except BaseException:
        kit.stop([process])
        raise
    return process


def bound(at):
    """Whether somebody has this UDP port."""
    return any(line.split()[1].endswith(f":{at:04X}") for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:])
