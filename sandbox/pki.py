"""The bed's certificates and kubeconfigs: one CA, made by openssl."""

from __future__ import annotations

import base64
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox.command import run
from ovnloom.sandbox.plan import Plan, management, management6, number_of

DAYS = "365"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
SERVICE = "kubernetes.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Certificate:
    """*name* is the file's; *subject* is openssl's form, organisation first; *alternatives* are "IP:…" and "DNS:…"."""

    name: str
    subject: str
    alternatives: tuple[str, ...] = ()


# Who has a kubeconfig, beside the nodes.
USERS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}


def certificates(plan: Plan) -> list[Certificate]:
    """All certificates of the bed except the CA's own."""
    names = [SERVICE.rsplit(".", cut)[0] for cut in (4, 3, 2)] + [SERVICE]
    server = [f"IP:{address}" for address in (management(1), management6(1), "10.96.0.1", "fd00:10:96::1", "127.0.0.1")]
    return [
        Certificate("apiserver", "/CN=kube-apiserver", (*server, *(f"DNS:{name}" for name in names))),
        Certificate("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client"),
        Certificate("front-proxy", "/CN=front-proxy-client"),
        *(Certificate(name, subject) for name, subject in USERS.items()),
        *(node_certificate(node) for node in plan.nodes),
    ]


def node_certificate(node: str) -> Certificate:
    """Both the kubelet's identity and what it serves with."""
    number = number_of(node)
    alternatives = (f"IP:{management(number)}", f"IP:{management6(number)}", f"DNS:{node}")
    return Certificate(node, f"/O=system:nodes/CN=system:node:{node}", alternatives)


def make_pki(plan: Plan) -> None:
    """Writes CA, certificates, service-account keys and kubeconfigs. Raises ``CommandFailed``."""
    folder = plan.pki
    folder.mkdir(parents=True, mode=0o700)
    run(["openssl", "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", "/CN=ovnloom-bed"], cwd=folder)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(sign, folder, certificate) for certificate in certificates(plan)]
        run(["openssl", "genrsa", "-out", "sa.key", "2048"], cwd=folder)
        run(["openssl", "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"], cwd=folder)
        for job in jobs:
            job.result()
    for user in [*USERS, *plan.nodes]:
        (folder / f"{user}.kubeconfig").write_text(kubeconfig(plan, user))
    plan.kubeconfig.write_text(kubeconfig(plan, "admin"))
    plan.kubeconfig.chmod(0o600)


def sign(folder: Path, certificate: Certificate) -> None:
    name = certificate.name
    # One file per certificate: the default extensions of openssl differ between its versions.
    usage = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth,clientAuth"]
    if certificate.alternatives:
        usage.append("subjectAltName=" + ",".join(certificate.alternatives))
    (folder / f"{name}.ext").write_text("\n".join(usage) + "\n")
    run(["openssl", "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", certificate.subject], cwd=folder)
    authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", f"0x{secrets.token_hex(16)}"]
    run(
        ["openssl", "x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt", "-days", DAYS, "-extfile", f"{name}.ext"],
        cwd=folder,
    )


def kubeconfig(plan: Plan, user: str) -> str:
    def encoded(file: str) -> str:
        return base64.b64encode((plan.pki / file).read_bytes()).decode()

    cluster = {"server": plan.server, "certificate-authority-data": encoded("ca.crt")}
    identity = {"client-certificate-data": encoded(f"{user}.crt"), "client-key-data": encoded(f"{user}.key")}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": plan.name, "cluster": cluster}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": plan.name, "context": {"cluster": plan.name, "user": user}}],
            "current-context": plan.name,
        },
        indent=1,
    )
