"""The machine the sandbox runs on: its Debian packages, its mirrors, what its apt and pip are told."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox.command import run
from ovnloom.sandbox.progress import Board

# Program that must be on PATH -> the Debian package that has it.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "runc": "runc",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "nft": "nftables",
    "openssl": "openssl",
    "busybox": "busybox-static",
    "buildah": "buildah",
    "setpriv": "util-linux",
    "mount": "mount",
    "sysctl": "procps",
    "tar": "tar",
}
TRUST = Path("/etc/ssl/certs/ca-certificates.crt")


class NotReady(Exception):
    """The machine lacks something; the message says what to do."""


def missing_packages() -> list[str]:
    """The Debian packages of ``PROGRAMS`` that are not installed."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program, path=search_path()) is None})


def search_path() -> str:
    """PATH with the folders of root's programs, which a plain `su` leaves out."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def require(board: Board, *, install: bool) -> None:
    """Installs what is missing on the host, or raises ``NotReady`` with the names when *install* is false or not possible."""
    os.environ["PATH"] = search_path()
    if os.geteuid() != 0:
        raise NotReady("the sandbox makes network namespaces and mounts: run it as root")
    missing = missing_packages()
    if not missing:
        return
    command = f"apt-get install {' '.join(missing)}"
    if not install:
        raise NotReady(f"these Debian packages are missing: {' '.join(missing)}; run: {command}")
    if shutil.which("apt-get") is None:
        raise NotReady(f"not a Debian machine; install these programs by hand: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with board.step(f"Debian packages of the host: {' '.join(missing)}"):
        run(["apt-get", "update"], env=quiet)
        run(["apt-get", "install", "-y", "--no-install-recommends", *missing], env=quiet)


@dataclass(frozen=True, slots=True)
class Source:
    """One repository of apt."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


def parse_list(text: str) -> list[Source]:
    """The `deb` lines of a sources.list file. Lines that apt would refuse are left out."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>(\s+[^#\s]+)*)", line)
        if match:
            options = dict(option.split("=", 1) for option in (match["options"] or "").split() if "=" in option)
            sources.append(Source(match["uri"], (match["suite"],), tuple(match["components"].split()), options.get("signed-by", "")))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """The stanzas of a .sources file that offer binary packages and are enabled."""
    sources = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = _deb822_fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        key = fields.get("signed-by", "")
        for uri in fields.get("uris", "").split():
            sources.append(
                Source(
                    uri, tuple(fields.get("suites", "").split()), tuple(fields.get("components", "").split()), key if key[:1] == "/" else ""
                )
            )
    return sources


def _deb822_fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def apt_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """All repositories this machine uses."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    sources: list[Source] = []
    for file in files:
        if file.is_file() and file.suffix in (".list", ".sources"):
            sources += (parse_deb822 if file.suffix == ".sources" else parse_list)(file.read_text())
    return sources


def debian_lines(sources: Sequence[Source], host_release: str, release: str) -> list[str]:
    """The lines of sources.list for *release*, from the mirrors a host of *host_release* uses for its own packages.

    A mirror is known by offering `main` of the host's own suite. Empty when there is none: mmdebstrap then takes its default.
    """
    lines: list[str] = []
    for source in sources:
        if "main" not in source.components:
            continue
        option = f"[signed-by={source.signed_by}] " if source.signed_by else ""
        for suite in source.suites:
            base, _, rest = suite.partition("-")
            if base == host_release and rest in ("", "updates", "security"):
                lines.append(f"deb {option}{source.uri} {release}{'-' + rest if rest else ''} main")
    lines = list(dict.fromkeys(lines))
    return lines if any(line.endswith(f" {release} main") for line in lines) else []


def release_of_host(os_release: Path = Path("/etc/os-release")) -> str:
    match = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", os_release.read_text(), re.M)
    return match[1] if match else ""


def apt_transport_options() -> list[str]:
    """What the host's apt is told about proxies and trust, as lines of apt.conf."""
    wanted = re.compile(r"^Acquire::(https?|ftp)(::\S+)?::(Proxy|CaInfo|Verify-Peer|Verify-Host)\b")
    return [line for line in run(["apt-config", "dump"]).splitlines() if wanted.match(line)]


def pip_configuration(python: Path) -> str:
    """The host's settings of pip that say where packages come from, as a pip.conf for another root folder."""
    listing = run([python, "-m", "pip", "config", "list"])
    return render_pip_conf(listing.splitlines(), os.environ)


def render_pip_conf(listing: Iterable[str], environment: os._Environ[str] | dict[str, str]) -> str:
    """*listing* is what `pip config list` prints; the environment's PIP_… variables win, as they do in pip."""
    kept = ("index-url", "extra-index-url", "trusted-host", "timeout", "proxy", "retries")
    values: dict[str, str] = {}
    for line in listing:
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2].replace("_", "-").replace("default-timeout", "timeout")
        if option in kept and not name.startswith(":env:"):
            values[option] = value.strip("'\"")
    for variable, value in environment.items():
        option = variable.removeprefix("PIP_").lower().replace("_", "-").replace("default-timeout", "timeout")
        if variable.startswith("PIP_") and option in kept:
            values[option] = value
    return "\n".join(["[global]", *(f"{option} = {value}" for option, value in sorted(values.items()))]) + "\n"
