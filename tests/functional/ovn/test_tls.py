"""Over TLS, with the authority of the files that the chart mounts."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovnloom.core.ovn.session import Session, Tls
from tests.functional.ovn.conftest import Open
from tests.functional.ovn.words import done, port, with_switch
from tests.functional.ovn_server import Ovn, programs

pytestmark = pytest.mark.ovn


def _certificates(ovn: Ovn, authority: str) -> Tls:
    key, certificate, ca = (ovn.home / f"{authority}-{name}.pem" for name in ("key", "cert", "ca"))
    make: list[str | Path] = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*make, "-subj", f"/CN={authority}", "-keyout", ovn.home / "ca.key", "-out", ca], check=True, capture_output=True)
    signed: list[str | Path] = [*make, "-subj", "/CN=ovn", "-CA", ca, "-CAkey", ovn.home / "ca.key", "-addext", "basicConstraints=CA:FALSE"]
    subprocess.run([*signed, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return Tls(str(key), str(certificate), str(ca))


@pytest.fixture
def secure() -> Iterator[tuple[str, Tls, Ovn]]:
    with programs() as ovn, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
        probe.close()
        tls = _certificates(ovn, "ours")
        ovn.create("nb", "nb")
        files = (f"--private-key={tls.key}", f"--certificate={tls.certificate}", f"--ca-cert={tls.ca}")
        ovn.serve("nb", f"--remote=pssl:{number}:127.0.0.1", *files)
        yield f"ssl:127.0.0.1:{number}", tls, ovn


async def test_tls(secure: tuple[str, Tls, Ovn], connect: Open) -> None:
    remote, tls, _ = secure
    session = await connect(remote, tls=tls)
    await with_switch(session)
    await done(session, *(op for n in range(2000) for op in port(f"p{n}")))
    assert len(session.replica.table("Logical_Switch_Port")) == 2000


async def test_a_strangers_certificate_gets_nothing(secure: tuple[str, Tls, Ovn]) -> None:
    remote, _, ovn = secure
    session = Session("OVN_Northbound", remote, tls=_certificates(ovn, "theirs"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await session.start()


async def test_tls_without_files_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs key, certificate and authority"):
        await Session("OVN_Northbound", "ssl:127.0.0.1:1").start()
    with pytest.raises(ValueError, match="no remote such as"):
        Session("OVN_Northbound", "http://127.0.0.1:1")
