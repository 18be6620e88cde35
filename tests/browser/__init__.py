"""Tests in a real browser, skipped where there is none; with BDGAN_REQUIRE_BROWSER they fail there."""

import os

import pytest

if not os.environ.get("BDGAN_REQUIRE_BROWSER"):
    pytest.importorskip("playwright", reason="needs playwright")
    from .lab import CHROMIUM

    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)
