"""What is read of the host: its mirrors of Debian, what its pip is told, which packages are missing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from ovnloom.sandbox import host
from ovnloom.sandbox.host import Source, apt_sources, debian_lines, parse_deb822, parse_list, render_pip_conf
from ovnloom.sandbox.progress import Board

BOOKWORM = """\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def test_mirrors_of_a_deb822_file_serve_the_other_release() -> None:
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    assert debian_lines(parse_deb822(BOOKWORM), "bookworm", "trixie") == [
        f"deb {signed}http://mirror.example/debian trixie main",
        f"deb {signed}http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_mirrors_of_a_sources_list() -> None:
    text = (
        "# deb http://no.example x main\n"
        "deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian bookworm main non-free\n"
        "deb-src http://s.example bookworm main\n"
    )
    assert parse_list(text) == [Source("https://m.example/debian", ("bookworm",), ("main", "non-free"), "/k.gpg")]


def test_other_vendors_repositories_are_not_mirrors() -> None:
    lines = ("https://vendor.example/apt stable main", "https://cloud.example/apt sdk-bookworm main", "http://x.example bookworm contrib")
    text = "".join(f"deb {line}\n" for line in lines)
    assert len(parse_list(text)) == 3 and debian_lines(parse_list(text), "bookworm", "trixie") == []


def test_an_inline_key_is_not_taken_for_a_file() -> None:
    text = "Types: deb\nURIs: http://m.example\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP\n .\n abc\n"
    assert parse_deb822(text) == [Source("http://m.example", ("bookworm",), ("main",))]


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example trixie main\n")
    (tmp_path / "sources.list.d" / "two.sources").write_text(BOOKWORM)
    (tmp_path / "sources.list.d" / "three.list.save").write_text("deb http://three.example trixie main\n")
    assert {source.uri for source in apt_sources(tmp_path)} == {
        "http://one.example",
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    }


def test_pip_is_told_where_packages_come_from_and_the_environment_wins() -> None:
    listing = ["global.index-url='https://one.example/simple'", ":env:.timeout='5'", "global.cert='/x'", "install.find-links='/wheels'"]
    environment = {"PIP_INDEX_URL": "https://two.example/simple", "PIP_DEFAULT_TIMEOUT": "60", "PIP_FIND_LINKS": "/y", "PATH": "/bin"}
    assert render_pip_conf(listing, {}) == "[global]\nindex-url = https://one.example/simple\n"
    assert render_pip_conf(listing, environment) == "[global]\nindex-url = https://two.example/simple\ntimeout = 60\n"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "PROGRAMS", {"no-such-program": "some-package", "sh": "dash"})
    assert host.missing_packages() == ["some-package"]
    if os.geteuid() == 0:
        with pytest.raises(host.NotReady, match="apt-get install some-package"):
            host.require(Board(Console(file=io.StringIO())), install=False)
