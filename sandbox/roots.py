"""Debian root folders, made once by mmdebstrap and never changed: nodes, images and the Go build stand on them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox import host
from ovnloom.sandbox.command import enclosed, run
from ovnloom.sandbox.paths import CHECKOUT, Cache, key_of, point

RELEASE = "trixie"
PRODUCT_PACKAGES = CHECKOUT / "deploy" / "image" / "packages.txt"


@dataclass(frozen=True, slots=True)
class Root:
    """A folder with a minimal Debian and *packages*."""

    name: str
    packages: tuple[str, ...]

    def key(self) -> str:
        return key_of(RELEASE, *sorted(self.packages))

    def path(self, cache: Cache) -> Path:
        return cache.roots / f"{self.name}-{self.key()}"

    def ready(self, cache: Cache) -> bool:
        return (self.path(cache) / "etc" / "os-release").exists()


def package_list(text: str) -> tuple[str, ...]:
    """One package a line, `#` starts a comment."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def node_root() -> Root:
    """What a machine of the cluster has: container runtime, packet filters, the CNI reference plugins."""
    return Root(
        "node",
        package_list(
            "containerd\nrunc\ncontainernetworking-plugins\niproute2\niptables\nnftables\nipset\nconntrack\nkmod\nprocps\nethtool\n"
            "socat\npython3\niputils-ping\ntcpdump\ncurl\nutil-linux\nmount\nca-certificates"
        ),
    )


def tools_root() -> Root:
    """What the images of the end-to-end suite have beside their own program."""
    return Root(
        "tools",
        package_list("curl\nbind9-dnsutils\niproute2\niputils-ping\niperf3\nnetcat-openbsd\ntcpdump\nethtool\nca-certificates"),
    )


def product_root() -> Root:
    """The base of the product's image: the list its Dockerfile reads too."""
    return Root("product", package_list(PRODUCT_PACKAGES.read_text()))


def go_root() -> Root:
    """Where the Go programs are built on a machine without a Go of its own."""
    return Root("golang", ("golang-go", "ca-certificates"))


def make_root(cache: Cache, root: Root, log: Path) -> None:
    """Makes *root* unless it is there, and points `roots/<name>` at it.

    Raises ``CommandFailed`` with mmdebstrap's words.
    """
    path = root.path(cache)
    cache.roots.mkdir(parents=True, exist_ok=True)
    with cache.lock(f"root-{root.name}"):
        if not root.ready(cache):
            fresh = path.with_name(path.name + ".part")
            shutil.rmtree(fresh, ignore_errors=True)
            run(enclosed(mmdebstrap(root, fresh)), log=log)
            fresh.replace(path)
        point(cache.roots / root.name, path)


def mmdebstrap(root: Root, target: Path) -> list[str]:
    """The command line: the host's own mirrors, proxies and keys; what the host's apt is told does not stay in the root."""
    lines = host.debian_lines(host.apt_sources(), host.release_of_host(), RELEASE)
    options = [f"--aptopt={line}" for line in host.apt_transport_options()]
    forget = ['--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap'] if options else []
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(root.packages)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *options,
        *forget,
        RELEASE,
        str(target),
        *lines,
    ]
