"""How is each proxy started?"""

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import process

HERE = Path(__file__).parent
PROXY_CORE = 0
START_SECONDS = 20
ATTEMPTS_MAX = 4
LISTENERS = ("h1", "h2c", "tls")


@dataclass(frozen=True)
class Peer:
    """A proxy: what it is called, what it listens on, and its command, with @NAME@ filled in."""

    name: str
    title: str
    config: str
    command: tuple[str, ...]
    version: tuple[str, ...]
    listeners: tuple[str, ...] = LISTENERS
    converts: bool = False
    env: dict = field(default_factory=dict)


NGINX = ("@nginx@", "-p", "@place@", "-e", "stderr", "-c", "@config@")

PEERS = {
    peer.name: peer
    for peer in (
        # Its own log says as little as the peers' do: no access records.
        Peer("weir", "Weir", "weir.toml.in", ("@weir@", "run", "--config", "@config@", "--log", "warn"),
             ("@weir@", "--version"), converts=True),
        Peer("nginx", "nginx", "nginx.conf.in", NGINX, ("@nginx@", "-v")),
        Peer("haproxy", "HAProxy", "haproxy.cfg.in", ("@haproxy@", "-db", "-f", "@config@"),
             ("@haproxy@", "-v")),
        Peer("envoy", "Envoy", "envoy.yaml.in",
             ("@envoy@", "-c", "@config@", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
             ("@envoy@", "--version")),
        Peer("caddy", "Caddy", "Caddyfile.in",
             ("@caddy@", "run", "--adapter", "caddyfile", "--config", "@config@"),
             ("@caddy@", "version"),
             env={"GOMAXPROCS": "1", "XDG_DATA_HOME": "@place@", "XDG_CONFIG_HOME": "@place@"}),
        Peer("nginx-lua", "nginx + Lua", "nginx.conf.in", NGINX, ("@nginx@", "-v"), converts=True),
        Peer("node", "Node bridge", "bridge.mjs", ("@node@", "@config@", "@h1@", "@upstream@"),
             ("@node@", "--version"), listeners=("h1",), converts=True),
    )
}
PASSING = ("nginx", "haproxy", "envoy", "caddy")
CONVERTING = ("nginx-lua", "node")


class Failed(Exception):
    """A proxy, the backend or the load client did not do what it must; its text names which."""


class Site:
    """Where the proxies run: the programs that were found, and a folder for all that is temporary."""

    def __init__(self, place: Path, programs: dict[str, str]):
        self.place = place
        self.programs = programs
        self.certificate, self.key, self.both = (place / name for name in ("cert.pem", "key.pem", "both.pem"))

    def make_certificate(self) -> None:
        """Makes a certificate for 127.0.0.1 that nobody trusts, good for two days."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True)
        self.both.write_text(self.certificate.read_text() + self.key.read_text())

    @contextlib.contextmanager
    def proxy(self, peer: Peer, upstream: int):
        """Runs a fresh proxy in front of the port `upstream`; yields its process and its ports."""
        for _ in range(ATTEMPTS_MAX):
            ports = {name: process.free_port() for name in peer.listeners}
            log, running = self._launch(peer, ports, upstream)
            try:
                if process.await_ports(running, ports.values(), START_SECONDS):
                    yield running, ports
                    return
            finally:
                process.end(running)
        raise Failed(f"{peer.title} does not start; it said:\n{log.read_text(errors='replace')[-2000:]}")

    def _launch(self, peer, ports, upstream):
        place = self.place / peer.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        connections = process.files() // 2 - 200
        facts = {**self.programs, **ports, "place": place, "upstream": upstream, "files": process.files(),
                 "connections": connections, "certificate": self.certificate, "key": self.key,
                 "both": self.both, "modules": "", "convert": "", "config": place / peer.config.removesuffix(".in")}
        if peer.name == "nginx-lua":
            facts["modules"] = "\n".join(f"load_module {module};" for module in lua_modules())
            facts["convert"] = (HERE / "nginx-lua.conf.in").read_text()
        facts["config"].write_text(fill((HERE / peer.config).read_text(), facts))
        log = place / "log"
        with log.open("wb") as sink:
            command = [fill(part, facts) for part in peer.command]
            env = {name: fill(value, facts) for name, value in peer.env.items()}
            return log, process.start(command, PROXY_CORE, sink, env)

    def version(self, peer: Peer) -> str:
        """Asks the program itself; of what it tells, the first word that begins with a version."""
        command = [fill(part, self.programs) for part in peer.version]
        told = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"(?:^|[\s/v])(\d+\.\d+[\w.\-~+]*)", (told.stdout + told.stderr).replace(command[0], ""))
        return found.group(1).split("-")[0] if found else "unknown"


def lua_modules() -> list[Path]:
    """Finds nginx's Lua module and what it needs, in the order to load them."""
    folder = Path("/usr/lib/nginx/modules")
    return [folder / "ndk_http_module.so", folder / "ngx_http_lua_module.so"]


def fill(template: str, facts: dict) -> str:
    """Puts facts in the place of their @name@; an unknown name is our fault."""
    return re.sub(r"@([a-z0-9_]+)@", lambda found: str(facts[found.group(1)]), template)
