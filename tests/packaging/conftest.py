from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.functional.ovn_server import root_folder
from tests.packaging.box import Box


@pytest.fixture
def box() -> Iterator[Box]:
    root = root_folder()
    if os.geteuid() or str(root) == "/":  # scripts want folders of their own, which a host's OVN would not like
        reason = "needs root, and the Debian root folder of the sandbox (./loom build)"
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)(reason)
    made = Box(root)
    try:
        yield made
    finally:
        made.close()
