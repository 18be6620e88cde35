"""onnxruntime-web for the page that runs the model: one pinned npm package, of which two files are taken.

python docs/make/runtime.py     fetches it into the user's cache, so that a site is built offline after it
"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path

PIN = json.loads((Path(__file__).parent / "play/runtime.json").read_text("utf-8"))
NAME = f"{PIN['package']}-{PIN['version']}.tgz"


def runtime(folder: Path | None = None) -> Path | None:
    """The package's file, fetched with npm at first use; None, after a line that says why, without it.

    folder: where it is kept; the user's cache if None.
    """
    kept = (folder or user_cache_path("bdgan_lib", appauthor=False)) / NAME
    if kept.is_file() and _digest(kept) == PIN["sha256"]:
        return kept
    npm = shutil.which("npm")
    if npm is None:
        return _without("npm is not installed (apt-get install npm)")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        command = [npm, "pack", f"{PIN['package']}@{PIN['version']}", "--pack-destination", work, "--silent"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=work)
        except subprocess.TimeoutExpired:
            return _without("npm pack has not answered for five minutes")
        file = Path(work) / NAME
        if done.returncode or not file.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            return _without(f"npm pack {PIN['package']}@{PIN['version']} failed: {said[0]:.200}")
        if (digest := _digest(file)) != PIN["sha256"]:
            return _without(f"{NAME} has sha256 {digest}, expected {PIN['sha256']}")
        file.replace(kept)
    return kept


def unpack(package: Path, folder: Path) -> None:
    """Copy the files that the page needs from the package, without the folders they lie in there."""
    with tarfile.open(package) as archive:
        for name in PIN["files"]:
            member = archive.extractfile(f"package/{name}")
            assert member is not None
            (folder / Path(name).name).write_bytes(member.read())


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _without(why: str) -> None:
    print(f"site: {why}; the page that runs the model is left out", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(0 if (package := runtime()) and print(package) is None else 1)
