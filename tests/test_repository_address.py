"""The repository's address stands in pyproject.toml. Every mention equals it; no release has a placeholder.

Versions below 1.0 count as pre-releases, as do those with .dev, a, b or rc. Records of data sets contain the
version, so a new one changes their bytes; that is why 0.1.0 got no suffix.
"""

import json
import re
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import bdgan_lib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
MENTION = re.compile(
    r"https?://[\w./-]+/bdgan[\w-]*(?:\.git)?|https?://(?:www\.)?example\.(?:org|com|net)[\w./-]*"
)
FILES = [
    path
    for pattern in (
        "*.md",
        "CITATION.cff",
        "environment.yml",
        "docs/**/*.md",
        "docs/*.py",
        "ci/*",
        "notebooks/*.ipynb",
    )
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"
]


def may_be_published(address: str, version: str) -> bool:
    """Whether a package of this version may name this address."""
    release = Version(version) >= Version("1.0") and not Version(version).is_prerelease
    return not (release and re.search(r"\bexample\.(org|com|net)\b", address))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_mention_is_the_address(path):
    text = re.sub(
        r"https://(colab\.research\.google\.com/github|mybinder\.org/v2/gh)/",
        "https://github.com/",
        path.read_text("utf-8"),
    )
    mentions = {m.removesuffix("/actions") for m in MENTION.findall(text)}
    assert mentions <= {ADDRESS}, "run `python ci/colab.py`, which takes the address from pyproject.toml"


def test_notebooks_citation_and_site_name_it():
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        (colab,) = ["".join(c["source"]) for c in cells if "colab" in c["metadata"].get("tags", [])]
        assert f"git clone -q --depth 1 {ADDRESS} /content/bdgan_lib" in colab, path.name
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f'repository-code: "{ADDRESS}"\n' in citation and f"version: {PROJECT['version']}\n" in citation
    settings: dict[str, object] = {"__file__": str(ROOT / "docs/conf.py")}
    exec((ROOT / "docs/conf.py").read_text("utf-8"), settings)
    assert settings["repository"] == ADDRESS


def test_the_version_is_one_and_may_be_published_under_the_address():
    assert PROJECT["version"] == bdgan_lib.__version__
    assert may_be_published(ADDRESS, PROJECT["version"]), (
        f"a release needs the repository's address, got {ADDRESS}"
    )


@pytest.mark.parametrize(
    ("version", "release"),
    [("0.1.0", False), ("1.0.dev0", False), ("1.0.0a1", False), ("1.2b1", False), ("2.0rc1", False)]
    + [("1.0", True), ("1.0.0", True), ("1.0.post1", True), ("2.3.1", True)],
)
def test_a_placeholder_is_refused_for_releases_alone(version, release):
    assert may_be_published("https://example.org/bdgan_lib", version) is not release
    assert may_be_published("https://github.com/some.one/bdgan_lib", version)
