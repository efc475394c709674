from __future__ import annotations

import pytest

from ovnloom.core.ovn.priorities import Band, BandClash, Bands


def test_clashes_are_errors() -> None:
    bands = Bands()
    band = bands.register(Band("Logical_Router_Policy", "to-subnets", 31000, "subnet"))
    assert bands.register(band) is band
    with pytest.raises(BandClash, match="to-subnets"):
        bands.register(Band("Logical_Router_Policy", "mine", 31000, "other"))
    with pytest.raises(BandClash, match="31000"):
        bands.register(Band("Logical_Router_Policy", "to-subnets", 1, "other"))
    low = bands.register(Band("Logical_Router_Policy", "low", 1, "other"))
    acl = bands.register(Band("ACL", "to-subnets", 31000, "acl"))
    assert bands.all() == [acl, band, low]
