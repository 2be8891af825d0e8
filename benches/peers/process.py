"""How is a process pinned to a core, awaited, and ended?"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

FILES_MAX = 60_000
END_SECONDS = 10
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def files() -> int:
    """Tells how many files a process may open here, up to FILES_MAX."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(hard if hard != resource.RLIM_INFINITY else FILES_MAX, FILES_MAX)


def start(command, core, log, env=None) -> subprocess.Popen:
    """Starts `command` on one core, or on any, with as many open files as allowed; `log` takes what it says.

    It is in a process group of its own, so that Ctrl-C reaches it only through us, and it is ended by the
    kernel should we be killed.
    """

    def prepare():
        if core is not None:
            os.sched_setaffinity(0, {core})
        resource.setrlimit(resource.RLIMIT_NOFILE, (files(), files()))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **(env or {})},
        preexec_fn=prepare,
        start_new_session=True,
    )


def end(process: subprocess.Popen) -> None:
    """Ends the process and those that it started: asks first, insists after END_SECONDS."""
    if process.poll() is not None:
        process.wait()
        return
    tree = pids(process.pid)
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree[1:]:
        kill_orphan(pid)


def kill_orphan(pid: int) -> None:
    """Ends what a process left behind when it had to be killed."""
    deadline = time.monotonic() + 1
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def pids(pid: int) -> list[int]:
    """Lists the process and all below it, itself first."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    # The command stands in parentheses and may contain anything.
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue  # It has just ended.
    found = [pid]
    for parent in found:
        found += sorted(child for child, its in parents.items() if its == parent)
    return found


def free_port() -> int:
    """Finds a port that nobody listens on; another may take it first, so whoever uses it tries again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_ports(process: subprocess.Popen, ports, seconds: float) -> bool:
    """Waits until every port accepts; false if the process ends first or the time is over."""
    return all(wait_until(lambda port=port: accepts(port), seconds, process) for port in ports)


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((address, port), 1).close()
        return True
    except OSError:
        return False


def wait_until(is_so, seconds: float, process: subprocess.Popen) -> bool:
    """Waits until `is_so` answers true; false if the process ends first or the time is over."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if is_so():
            return process.poll() is None
        time.sleep(0.02)
    return False
