"""The stores of the peers: private servers on the loopback address, each over a fresh directory on a disk, gone when the
measurement is over, however it ends."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from install import debian, run
from peer import TARGET, Gap

LOOPBACK = "127.0.0.1"
# A server that does not answer in this time will not.
START = 30
# A server that does not end in this time is killed.
STOP = 20
# File systems that forget everything with the power.
IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
# What PostgreSQL 15 calls recommended for a dedicated server is not its default: memory, and room before a checkpoint.
# What makes a commit durable (fsync, synchronous_commit) is left as installed: on.
POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "4GB", "max_connections": "100"}
# Synced before each answer; no snapshots beside the log, no eviction.
REDIS = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


def place():
    """Where the data go, and on which file system."""
    root = Path(os.environ.get("BENCH_DIR", TARGET / "data"))
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, kind = line.split(" - ")
        mounts.append((Path(mount.split()[4]), kind.split()[0]))
    # Of two mounts at one point the later one is seen.
    above = [(len(mount.parts), number, kind) for number, (mount, kind) in enumerate(mounts) if root.is_relative_to(mount)]
    system = max(above)[2] if above else "unknown"
    if system in IN_MEMORY:
        raise Gap(f"{root} ({system}) is in memory: nothing on it is durable; set BENCH_DIR")
    return root, system


@contextlib.contextmanager
def fresh(store):
    """The address of an empty store."""
    directory = Path(tempfile.mkdtemp(prefix=store, dir=place()[0]))
    try:
        with {"redis": redis, "postgres": postgres, "sqlite": sqlite}[store](directory) as address:
            yield address
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def install(store):
    if store == "redis":
        debian("redis-server", "redis-server")
    if store == "postgres":
        # Its cluster of the whole machine is not asked for, only its programs.
        debian("postgres", "postgresql", found=lambda: postgres_programs() is not None)


def versions():
    """What the servers call themselves."""
    known = {"redis": ["redis-server", "--version"], "postgres": [str((postgres_programs() or Path()) / "postgres"), "--version"]}
    said = {}
    for store, command in known.items():
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            word = next(word for word in text.replace("v=", "").split() if word[0].isdigit())
            said[store] = f"{'Redis' if store == 'redis' else 'PostgreSQL'} {word}"
    return said


@contextlib.contextmanager
def sqlite(directory):
    yield f"sqlite://{directory}/peer.db"


@contextlib.contextmanager
def redis(directory):
    port = free_port()
    command = ["redis-server", "--bind", LOOPBACK, "--port", str(port), "--dir", str(directory)]
    for name, value in REDIS.items():
        command += [f"--{name}", value]
    with server(command, port, directory):
        # The newer protocol, for one connection that also is told.
        yield f"redis://{LOOPBACK}:{port}/?protocol=resp3"


@contextlib.contextmanager
def postgres(directory):
    programs, port = postgres_programs(), free_port()
    owner = {}
    # It refuses to run as root; its package brings it a user of its own.
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
        owner = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
        if subprocess.run(["test", "-w", directory], **owner).returncode:
            raise Gap(f"the user postgres may not enter {directory}; set BENCH_DIR")
    data = directory / "data"
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "peer", "--auth=trust", "--no-locale", "--encoding=UTF8"]
    run(initdb, **owner)
    command = [str(programs / "postgres"), "-D", str(data), "-h", LOOPBACK, "-p", str(port), "-k", ""]
    for name, value in POSTGRES.items():
        command += ["-c", f"{name}={value}"]
    with server(command, port, directory, stop=signal.SIGINT, **owner):
        address = f"postgres://peer@{LOOPBACK}:{port}/postgres"
        ready = [str(programs / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(port)]
        until(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL")
        yield address


def postgres_programs():
    """Debian keeps them out of the path, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    other = shutil.which("postgres")
    return Path(other).parent if other else None


@contextlib.contextmanager
def server(command, port, directory, stop=signal.SIGTERM, **owner):
    with open(directory / "log", "w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **owner)
        try:
            until(lambda: answers(port, process, log), command[0])
            yield
        finally:
            process.send_signal(stop)
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port, process, log):
    if process.poll() is not None:
        log.seek(0)
        raise Gap(f"the server has ended: {log.read().strip()[-300:]}")
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
        return True
    return False


def until(is_so, what):
    end = time.monotonic() + START
    while not is_so():
        if time.monotonic() > end:
            raise Gap(f"{what} does not answer")
        time.sleep(0.05)


def free_port():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return taken.getsockname()[1]
