"""A run's build names what its numbers depend on."""

from __future__ import annotations

import json
import zlib
from importlib.metadata import version

from engine.study import provenance


def test_a_build_names_packages_and_the_zlib_that_membership_scores_depend_on() -> None:
    packages = json.loads(provenance.build("cpu").packages)
    assert packages["torch"] == version("torch")
    assert packages["zlib"] == zlib.ZLIB_RUNTIME_VERSION


def test_another_zlib_is_another_build() -> None:
    here = provenance.build("cpu")
    own = zlib.ZLIB_RUNTIME_VERSION
    try:
        zlib.ZLIB_RUNTIME_VERSION = "1.3.1.zlib-ng"
        assert provenance.build("cpu").build_id != here.build_id
    finally:
        zlib.ZLIB_RUNTIME_VERSION = own
