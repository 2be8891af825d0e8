"""How is each proxy started, told to read its file again, replaced, and asked to leave?"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import process

HERE = Path(__file__).parent
START_SECONDS = 20
HOUR = 3600
DEFAULTS = {"drain": 30, "idle": HOUR, "write": HOUR, "unacknowledged": 60, "before_reply": "off", "generation": "g1",
            "address": "127.0.0.1"}
USR2 = 1 << (signal.SIGUSR2 - 1)


class Failed(Exception):
    """A proxy or an endpoint did not do what it must; the text names which."""


class Proxy:
    """One running proxy with its configuration, which lies with all else of it in `place`."""

    name = title = template = ""
    broken = "\nthis is no configuration {\n"
    # How it says that it begins to drain, and what its `drain` seconds are called.
    leave_signal = signal.SIGTERM

    def __init__(self, program: str, place: Path):
        self.place = place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        # A file of its own, so that it can be replaced by a new one.
        self.program = place / self.name
        copy(program, self.program)
        self.config = place / self.template.removesuffix(".in")
        self.settings = {}
        self.running = None
        # The process that takes signals, and the first one of the session that all are in.
        self.master = self.leader = None

    def start(self, endpoints, files=None, **settings) -> "Proxy":
        """Starts it in front of the endpoints, each an (address, port), with at most `files` open files."""
        self.settings = {**DEFAULTS, **settings, "place": self.place, "port": process.free_port(),
                         "endpoint_list": endpoints, "files": files}
        self.configure()
        limit = ["prlimit", f"--nofile={files}"] if files else []
        log = self.settings.get("log_file", self.place / "log")
        with open(log, "ab") as sink:
            self.running = process.start([*limit, *self.command()], None, sink)
        self.master = self.leader = self.running.pid
        if not self._accepts():
            raise Failed(f"{self.title} does not start; it said:\n{Path(log).read_text(errors='replace')[-2000:]}")
        return self

    def _accepts(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while not process.accepts(self.port):
            if self.running.poll() or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def command(self) -> list:
        raise NotImplementedError

    def facts(self) -> dict:
        """What stands in the template in place of its @names@, beside the settings."""
        raise NotImplementedError

    def configure(self, broken: bool = False, **changes) -> None:
        """Writes the file, whole at once as an operator's tools do; `broken`: such as no proxy takes."""
        self.settings.update(changes)
        facts = {**self.settings, **self.facts()}
        text = re.sub(r"@([a-z_]+)@", lambda found: str(facts[found.group(1)]), (HERE / self.template).read_text())
        new = self.config.with_suffix(".new")
        new.write_text(text + (self.broken if broken else ""))
        new.replace(self.config)

    @property
    def port(self) -> int:
        return self.settings["port"]

    @property
    def url(self) -> tuple[str, int]:
        """Where clients of this network connect."""
        return ("127.0.0.1", self.port)

    def reload(self) -> None:
        self.signal(signal.SIGHUP)

    def generation(self, stream) -> str | None:
        """Which configuration a stream was opened under."""
        return stream.fields.get("x-generation")

    def can_upgrade(self) -> bool:
        return True

    def upgrade(self) -> None:
        """Puts a new binary in the old one's place, and has it take over."""
        new = self.program.with_suffix(".new")
        copy(self.program, new)
        new.replace(self.program)
        self.signal(signal.SIGUSR2)

    def runs_new(self, pids) -> bool:
        """Whether one of the processes runs the binary that lies there now, and not one that was replaced."""
        return any(read_link(f"/proc/{pid}/exe") == str(self.program) for pid in pids)

    def leave(self) -> None:
        """Asks it to end its streams in its time and to go."""
        self.signal(self.leave_signal)

    def pids(self) -> list[int]:
        """All its processes, those of earlier generations too: they share the session of the first."""
        return session(self.leader)

    def signal(self, number: int) -> None:
        os.kill(self.master, number)

    def kept_pids(self) -> set[int]:
        """The processes that outlive an upgrade."""
        return set()

    def is_alive(self) -> bool:
        return bool(self.pids())

    def pss_kb(self) -> int:
        return sum(pss_kb(pid) for pid in self.pids())

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids())

    def end(self) -> None:
        """Ends all of it, at once."""
        if not self.running:
            return
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                # Orphans are ours in a process namespace of our own.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        self.running.poll()


class Weir(Proxy):
    name, title, template = "weir", "Weir", "weir.toml.in"

    def command(self):
        return [self.program, "run", "--config", self.config, "--log", self.settings.get("level", "warn")]

    def facts(self):
        listed = ", ".join(f'"http://{address}:{port}"' for address, port in self.settings["endpoint_list"])
        return {"endpoints": listed}

    def generation(self, stream):
        return stream.event_name

    def can_upgrade(self):
        return bool(caught(self.master) & USR2)


class Nginx(Proxy):
    name, title, template = "nginx", "nginx", "nginx.conf.in"
    leave_signal = signal.SIGQUIT

    def command(self):
        return [self.program, "-p", self.place, "-e", "stderr", "-c", self.config]

    def start(self, endpoints, files=None, **settings):
        # As a daemon, for it takes a new binary only where whoever started it is gone.
        super().start(endpoints, files, **settings)
        self.leader = self.master = self._read_master()
        return self

    def facts(self):
        servers = [f"        server {address}:{port} max_fails=1 fail_timeout=2s;"
                   for address, port in self.settings["endpoint_list"]]
        limit = f"worker_shutdown_timeout {self.settings['drain']}s;" if self.settings.get("is_bounded") else ""
        log = self.settings.get("log_file")
        return {"endpoints": "\n".join(servers), "process": limit, "log": log or "stderr", "access": log or "off"}

    def upgrade(self):
        super().upgrade()
        old = self.master
        deadline = time.monotonic() + START_SECONDS
        while self._read_master() in (None, old):
            if time.monotonic() > deadline:
                raise Failed("nginx does not start its new binary")
            time.sleep(0.02)
        os.kill(old, signal.SIGQUIT)
        self.master = self._read_master()

    def _read_master(self) -> int | None:
        pid_file = self.place / "nginx.pid"
        return int(text) if pid_file.exists() and (text := pid_file.read_text().strip()) else None


class Haproxy(Proxy):
    name, title, template = "haproxy", "HAProxy", "haproxy.cfg.in"
    leave_signal = signal.SIGUSR1

    def command(self):
        return [self.program, "-W", "-db", "-f", self.config]

    def facts(self):
        check = "check inter 500ms fastinter 200ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down"
        servers = [f"    server s{number} {address}:{port} {check}"
                   for number, (address, port) in enumerate(self.settings["endpoint_list"])]
        limit = f"    hard-stop-after {self.settings['drain']}s" if self.settings.get("is_bounded") else ""
        log = "stdout" if self.settings.get("log_file") else "stderr"
        # It refuses to start where it might run out of files, and then lets as many wait.
        files = self.settings["files"]
        places = f"    maxconn {(files - 40) // 2}" if files else ""
        return {"endpoints": "\n".join(servers), "process": limit, "places": places, "log": log}

    def reload(self):
        self.signal(signal.SIGUSR2)

    def kept_pids(self):
        # The master executes the new binary in its own place.
        return {self.master}


PROXIES = {proxy.name: proxy for proxy in (Weir, Nginx, Haproxy)}


def copy(source, target) -> None:
    """Copies a program, by a process of its own: a file that another of our threads' children inherited open for
    writing could not be executed.
    """
    subprocess.run(["cp", source, target], check=True)


def read_link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def stat(pid: int) -> list[str]:
    """The fields of a process behind its command, which may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(int(name))) and int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(name))
    return found


def pss_kb(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +(\d+)", told, re.MULTILINE)
    return int(found.group(1)) if found else 0


def cpu_seconds(pid: int) -> float:
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0


def caught(pid: int) -> int:
    """The signals that a process handles, as a mask."""
    told = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*(\w+)", told).group(1), 16)


class Endpoint:
    """A backend of ours, as a process; `far`: in the second network."""

    def __init__(self, name: str, port: int | None = None, far=None, address: str = "127.0.0.1"):
        self.name, self.address, self.port, self.far = name, address, port or process.free_port(), far
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-B", HERE / "backend.py", self.port, self.name, self.address]
        self.running = process.start(self.far.command(*command) if self.far else command, None, subprocess.DEVNULL)
        if self.far is None and not process.await_ports(self.running, [self.port], START_SECONDS):
            raise Failed(f"endpoint {self.name} does not start")

    @property
    def at(self) -> tuple[str, int]:
        return (self.address, self.port)

    def end(self) -> None:
        self.running.kill()
        self.running.wait()
