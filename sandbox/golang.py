"""Kubernetes, etcd, Helm and CoreDNS, built from their Go modules, each pinned by a go.sum in `sandbox/modules/`."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ovnloom.sandbox import roots
from ovnloom.sandbox.command import CommandFailed, enclosed, run
from ovnloom.sandbox.host import TRUST
from ovnloom.sandbox.paths import HERE, Cache, key_of, key_of_files, point

# From 1.21 on, Go fetches the toolchain that a go.mod asks for.
SELF_UPGRADING = (1, 21)
STRIP = "-s -w"


def kubernetes_version() -> str:
    """The version of k8s.io/kubernetes that the module pins, such as "v1.34.4"."""
    match = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "modules" / "kubernetes" / "go.mod").read_text())
    if match is None:
        raise ValueError("sandbox/modules/kubernetes/go.mod names no k8s.io/kubernetes")
    return match[1]


def kubernetes_flags(version: str) -> str:
    """Linker flags: the programs report *version* as an official build does."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    base = "k8s.io/component-base/version"
    return f"{STRIP} -X {base}.gitVersion={version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"


@dataclass(frozen=True, slots=True)
class Module:
    """One folder of `sandbox/modules/` and what is built from it."""

    name: str
    packages: dict[str, str]  # program -> package
    tests: dict[str, str] = field(default_factory=dict)  # program -> package whose tests it is
    files: dict[str, str] = field(default_factory=dict)  # name -> "module/path in the module", copied as they are
    flags: str = STRIP

    @property
    def folder(self) -> Path:
        return HERE / "modules" / self.name

    def key(self) -> str:
        recipe = repr((self.packages, self.tests, self.files, self.flags))
        return key_of(recipe, key_of_files([self.folder]))

    def path(self, cache: Cache) -> Path:
        return cache.bin / "modules" / f"{self.name}-{self.key()}"

    @property
    def programs(self) -> list[str]:
        return [*self.packages, *self.tests, *self.files]


def modules() -> list[Module]:
    kube = "k8s.io/kubernetes"
    commands = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    certificates = f"{kube}/test/images/agnhost/porter/localhost"
    return [
        Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
        Module(
            "kubernetes",
            {
                **{name: f"{kube}/cmd/{name}" for name in commands},
                "agnhost": f"{kube}/test/images/agnhost",
                "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo",
            },
            tests={"e2e.test": f"{kube}/test/e2e"},
            files={"localhost.crt": certificates + ".crt", "localhost.key": certificates + ".key"},
            flags=kubernetes_flags(kubernetes_version()),
        ),
        Module("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}),
        Module("coredns", {"coredns": "github.com/coredns/coredns"}),
    ]


def host_go() -> list[str] | None:
    """The host's Go, or None when there is none that could build these modules."""
    if os.environ.get("OVNLOOM_GO") == "root" or shutil.which("go") is None:
        return None
    try:
        words = run(["go", "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"})
    except CommandFailed:
        return None
    match = re.match(r"go(\d+)\.(\d+)", words)
    return ["go"] if match and (int(match[1]), int(match[2])) >= SELF_UPGRADING else None


class Toolchain:
    """Runs `go`, on the host or in a Debian root folder."""

    def __init__(self, cache: Cache, log: Path) -> None:
        self.cache = cache
        self.log = log
        self.local = host_go()

    def prepare(self) -> None:
        """Makes the Debian root folder when the host has no Go."""
        if self.local is None:
            roots.make_root(self.cache, roots.go_root(), self.log)

    def go(self, folder: Path, *arguments: str, logged: bool = True) -> str:
        """Runs `go` with *arguments* in *folder*; the answer when not *logged*."""
        env = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": ""}
        argv = [*self.local, *arguments] if self.local else self._inside(folder, arguments)
        return run(enclosed(argv), cwd=folder, env=env, log=self.log if logged else None)

    def _inside(self, folder: Path, arguments: tuple[str, ...]) -> list[str]:
        """`go` in the root folder. The mounts are made in a namespace that ends with the command (see ``enclosed``)."""
        root = roots.go_root().path(self.cache)
        home = self.cache.top / "go"
        for name in ("path", "build", "inside"):
            (home / name).mkdir(parents=True, exist_ok=True)
        script = HERE / "programs" / "inside.sh"
        env = [
            f"GOPATH={home}/path",
            f"GOCACHE={home}/build",
            f"HOME={home}",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            f"SSL_CERT_FILE={TRUST}",
        ]
        mounts = [str(self.cache.top), str(folder.parent)]
        return ["sh", str(script), str(root), f"{home}/inside", str(folder), *mounts, "--", "env", *env, "go", *arguments]


def build_module(cache: Cache, module: Module, tools: Toolchain) -> None:
    """Builds what *module* names unless it is there. Raises ``CommandFailed`` with the compiler's words."""
    path = module.path(cache)
    with cache.lock(f"go-{module.name}"):
        if path.exists():
            return
        fresh = path.with_name(path.name + ".part")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        common = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", module.flags]
        if len(module.packages) == 1:
            ((program, package),) = module.packages.items()
            tools.go(module.folder, "build", "-v", *common, "-o", str(fresh / program), package)
        else:
            tools.go(module.folder, "build", "-v", *common, "-o", f"{fresh}/", *module.packages.values())
        for program, package in module.tests.items():
            tools.go(module.folder, "test", "-c", *common, "-o", str(fresh / program), package)
        for name, source in module.files.items():
            _copy_from_module(tools, module, source, fresh / name)
        fresh.replace(path)


def _copy_from_module(tools: Toolchain, module: Module, source: str, target: Path) -> None:
    """*source* is "host/owner/rest of the path"; the first two parts name the module."""
    name = "/".join(source.split("/")[:2])
    tools.go(module.folder, "mod", "download", name)
    folder = tools.go(module.folder, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", name, logged=False).strip()
    shutil.copyfile(Path(folder) / source.removeprefix(name + "/"), target)


def assemble(cache: Cache, built: list[Module]) -> Path:
    """One folder with the programs of all modules (hard links), and `bin/current` pointing at it."""
    path = cache.bin / key_of(*(module.key() for module in built))
    with cache.lock("bin"):
        if not path.exists():
            fresh = path.with_name(path.name + ".part")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for module in built:
                for program in module.programs:
                    os.link(module.path(cache) / program, fresh / program)
            fresh.replace(path)
        point(cache.bin / "current", path)
    return path


def why_inside() -> str:
    """For the user: where the Go programs are built."""
    return "the host's Go" if host_go() else f"Go of Debian {roots.RELEASE} (the host has none from 1.21 on)"
