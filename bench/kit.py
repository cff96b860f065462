"""What every benchmark here needs: a network of its own, processes that start and end, and what they used. Knows no proxy."""

import argparse
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
SYSCTLS = {
    "net.ipv4.ip_local_port_range": "10000 65000",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.core.somaxconn": "4096",
}


def own_network():
    """Starts this program again in a network namespace of its own, unless it is in one."""
    if os.environ.get("SLUICE_BENCH_INSIDE") == "1":
        return
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    settings = " ".join(f"'{key}={value}'" for key, value in SYSCTLS.items())
    script = f"ip link set lo up && sysctl -qw {settings} && exec \"$@\""
    os.environ["SLUICE_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", *user, "--net", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def open_files():
    """Lets this program and those that it starts open as many files as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def parser(says):
    """The arguments that every benchmark takes; its documentation's first line says what it is for."""
    known = argparse.ArgumentParser(description=says.splitlines()[0])
    known.add_argument("--gateway", default=str(HERE.parent / "target/release/sluice"), help="the release binary")
    known.add_argument("--load", default=str(HERE / "target/release/load"), help="the load tool's binary")
    known.add_argument("--out", help="also write the tables to this file")
    return known


# --- processes -----------------------------------------------------------------------------------------------------------------

def start(command, log, **options):
    """Starts a program that writes to a file."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)


def stop(processes):
    """Ends them politely, then firmly."""
    processes = list(processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(log):
    """What was written to a log file so far."""
    return pathlib.Path(log.name).read_text(encoding="utf-8", errors="replace") if log else ""


def until(what, condition, patience=30, every=0.02, log=None):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(every)
    sys.exit(f"{what}: not within {patience} s\n{said(log)[-4000:]}")


def listens(port, host="127.0.0.1"):
    """Whether a connection is taken."""
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


def wait_for(port, log=None, host="127.0.0.1"):
    until(f"a listener on {host}:{port}", lambda: listens(port, host), log=log)


# --- what they used ------------------------------------------------------------------------------------------------------------

def tree(pid):
    """The process and all its descendants."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(") ", 1)[1].split()[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += parents.get(pid, [])
    return found


def cpu_seconds(pid):
    """User and system time of the process tree so far."""
    ticks = 0
    for each in tree(pid):
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def memory_kb(pid):
    """Proportional set size of the process tree."""
    total = 0
    for each in tree(pid):
        for line in pathlib.Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def percentile(values, share):
    """The value that so large a share of all does not pass (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
