"""How to reach the API server: from a kubeconfig, or from inside a pod.

The one module that imports ``kubernetes``, and of it only ``kubernetes.config``: the typed API costs 20 MB and half a
second. It reads every kind of credential that kubectl knows.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from ovnloom.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Access:
    """*authorization* gives the header's value for the next request (a token file is read again as it is rotated)."""

    url: str
    tls: ssl.SSLContext | None = None
    authorization: Callable[[], str] = str
    server_name: str | None = None
    proxy: str | None = None


def load(kubeconfig: str = "") -> Access:
    """From the file *kubeconfig*; without one, from the pod's service account, else from ``$KUBECONFIG`` or ``~/.kube/config``.

    Raises ``ConfigError`` with what is missing.
    """
    from kubernetes import config
    from kubernetes.client.configuration import Configuration

    settings = Configuration()
    inside = not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if inside:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(config_file=kubeconfig or None, client_configuration=settings)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:  # TypeError: the file holds no mapping
        source = "service account" if inside else f"kubeconfig {kubeconfig or os.environ.get('KUBECONFIG', '~/.kube/config')}"
        raise ConfigError([f"{source}: {' '.join(str(error).split())}"]) from error
    url = str(settings.host).rstrip("/")
    return Access(
        url=url,
        tls=_tls(settings) if url.startswith("https:") else None,
        authorization=lambda: str(settings.get_api_key_with_prefix("BearerToken") or "").strip(),
        server_name=settings.tls_server_name or None,
        proxy=_proxy(url, settings.proxy or "", settings.no_proxy or ""),
    )


def _proxy(url: str, proxy: str, no_proxy: str) -> str | None:
    host = urlsplit(url).hostname or ""
    if not proxy or urllib.request.proxy_bypass_environment(host, {"no": no_proxy}):  # type: ignore[attr-defined]  # not in typeshed
        return None
    return proxy


def _tls(settings: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert or None, cadata=getattr(settings, "ca_cert_data", None))
        # Python 3.13 turns this on and then refuses the certificates of older clusters, which lack key identifiers; no other client does.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not settings.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ValueError) as error:
        raise ConfigError([f"certificates of {settings.host}: {error}"]) from error
    return context
