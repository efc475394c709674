"""A CNI request as it came over the socket, read and checked before anything is done. Pure.

The codes are those of the CNI specification, "Error"; ours start at 100.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ovnloom.core.errors import shown

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST_FOR_ERRORS = "1.0.0"  # of an error whose request named no version

INCOMPATIBLE, UNKNOWN_CONTAINER, ENVIRONMENT, UNDECODABLE, CONFIGURATION, TRY_AGAIN, NOT_AVAILABLE = 1, 3, 4, 6, 7, 11, 50
FAILED, DIFFERS, BUG = 100, 101, 102

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_INTERFACE = re.compile(r"[!-~]{1,15}", re.ASCII)  # what Linux takes, see dev_valid_name
_UID = re.compile(r"[A-Za-z0-9\-]{1,64}", re.ASCII)
_PATH = re.compile(r"/[!-~]*", re.ASCII)


class CniError(Exception):
    """What the runtime is told. *message* is a sentence, *details* may say more."""

    def __init__(self, code: int, message: str, details: str = "", *, version: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.details, self.version = code, message, details, version

    def body(self) -> bytes:
        answer: dict[str, object] = {"cniVersion": self.version or NEWEST_FOR_ERRORS, "code": self.code, "msg": self.message}
        return msgspec.json.encode(answer | ({"details": self.details} if self.details else {}))


class Attachment(msgspec.Struct, rename={"container": "containerID"}, frozen=True):
    """A container's interface that the runtime knows of (GC)."""

    container: str
    ifname: str


class PreviousInterface(msgspec.Struct, frozen=True):
    name: str
    mac: str = ""
    sandbox: str = ""


class PreviousIp(msgspec.Struct, frozen=True):
    address: str
    gateway: str = ""
    interface: int | None = None


class PreviousResult(msgspec.Struct, frozen=True):
    """What ADD answered, as far as CHECK looks at it."""

    interfaces: tuple[PreviousInterface, ...] = ()
    ips: tuple[PreviousIp, ...] = ()


_RENAMED = {"cni_version": "cniVersion", "previous": "prevResult", "attachments": "cni.dev/valid-attachments"}


class Configuration(msgspec.Struct, rename=_RENAMED, frozen=True):
    """The network configuration, as far as anybody reads it."""

    cni_version: str = ""
    name: str = ""
    previous: PreviousResult | None = None
    attachments: tuple[Attachment, ...] | None = None


class _Body(msgspec.Struct, frozen=True):
    env: dict[str, str]
    config: Configuration


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. Which fields are set depends on the verb; *uid* is ``""`` if the runtime does not say."""

    verb: str
    version: str
    container: str = ""
    interface: str = ""
    netns: str = ""
    namespace: str = ""
    pod: str = ""
    uid: str = ""
    previous: PreviousResult | None = None
    attachments: tuple[Attachment, ...] = ()


VERBS = ("add", "del", "check", "gc", "status")
_decoder = msgspec.json.Decoder(_Body)


def parse(verb: str, body: bytes) -> Request:
    """Reads and checks a request. Raises ``CniError`` with the first thing that is wrong."""
    if verb not in VERBS:
        raise CniError(ENVIRONMENT, f"there is no command {shown(verb)}; there are {', '.join(VERBS)}")
    try:
        decoded = _decoder.decode(body)
    except msgspec.ValidationError as error:
        code = ENVIRONMENT if "`$.env" in str(error) else CONFIGURATION if "`$.config" in str(error) else UNDECODABLE
        raise CniError(code, f"the request does not have the shape it should have: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CniError(UNDECODABLE, f"the request cannot be read as JSON: {error}") from error
    config = decoded.config
    if not config.cni_version:
        raise CniError(CONFIGURATION, "the network configuration has no cniVersion")
    if config.cni_version not in VERSIONS:
        message = f"CNI version {shown(config.cni_version)} is not supported; supported are {', '.join(VERSIONS)}"
        raise CniError(INCOMPATIBLE, message, f"supported: {' '.join(VERSIONS)}")
    try:
        if not config.name:
            raise CniError(CONFIGURATION, "the network configuration has no name")
        return _request(verb, decoded.env, config)
    except CniError as error:
        error.version = config.cni_version
        raise


def _request(verb: str, env: Mapping[str, str], config: Configuration) -> Request:
    version = config.cni_version
    if verb == "status":
        return Request(verb, version)
    if verb == "gc":
        if config.attachments is None:
            raise CniError(CONFIGURATION, "GC needs cni.dev/valid-attachments in the network configuration")
        return Request(verb, version, attachments=config.attachments)
    container, interface = _container(env), _interface(env)
    if verb == "del":  # must succeed when everything else is gone
        return Request(verb, version, container, interface)
    if verb == "check" and config.previous is None:
        raise CniError(CONFIGURATION, "CHECK needs prevResult in the network configuration")
    netns = env.get("CNI_NETNS", "")
    if not _PATH.fullmatch(netns) or len(netns) > 4095:
        raise CniError(ENVIRONMENT, f"CNI_NETNS: {shown(netns)} is not an absolute path")
    arguments = _arguments(env.get("CNI_ARGS", ""))
    namespace, pod = _name(arguments, "K8S_POD_NAMESPACE"), _name(arguments, "K8S_POD_NAME")
    uid = arguments.get("K8S_POD_UID", "")
    if uid and not _UID.fullmatch(uid):
        raise CniError(ENVIRONMENT, f"CNI_ARGS: K8S_POD_UID {shown(uid)} is not a uid")
    return Request(verb, version, container, interface, netns, namespace, pod, uid, config.previous)


def _container(env: Mapping[str, str]) -> str:
    container = env.get("CNI_CONTAINERID", "")
    if not _CONTAINER.fullmatch(container) or len(container) > 255:
        raise CniError(ENVIRONMENT, f"CNI_CONTAINERID: {shown(container)} is not a container id (letters, digits, _ . -)")
    return container


def _interface(env: Mapping[str, str]) -> str:
    name = env.get("CNI_IFNAME", "")
    if not _INTERFACE.fullmatch(name) or name in (".", "..") or "/" in name or ":" in name:
        raise CniError(ENVIRONMENT, f"CNI_IFNAME: {shown(name)} is not an interface name (1 to 15 characters, no / or :)")
    return name


def _arguments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, text.split(";")):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CniError(ENVIRONMENT, f"CNI_ARGS: {shown(pair)} is not KEY=VALUE")
        found[key] = value
    return found


def _name(arguments: Mapping[str, str], key: str) -> str:
    value = arguments.get(key, "")
    if not value:
        raise CniError(ENVIRONMENT, f"CNI_ARGS has no {key}")
    if not _NAME.fullmatch(value) or len(value) > 253:
        raise CniError(ENVIRONMENT, f"CNI_ARGS: {key} {shown(value)} is not a name that Kubernetes allows")
    return value
