"""A run of the tutorial on disk: which notebooks are done, what they measured, where to go on.

runs/tutorial/<UTC time>/   summary.json  index.html  metrics.json  notebooks/  data/
runs/tutorial/latest        a link to the newest
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path


class UsageError(Exception):
    """A user's mistake: the runner prints it in one line and exits 2."""


@dataclass
class Entry:
    """One notebook of a run."""

    name: str
    seconds: float = 0.0
    status: str = "pending"  # pending, done, failed
    source_sha256: str = ""  # of the cells that ran, outputs left aside
    error: dict | None = None  # {"cell", "line", "message"} of a failed one

    def to_json(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, record: dict) -> "Entry":
        return cls(**{key: record[key] for key in cls.__dataclass_fields__ if key in record})


class RunFolder:
    """The state of one run; `save` writes it whole or not at all."""

    def __init__(self, path: Path, profile: str, entries: list[Entry], device: str = "cpu"):
        self.path, self.profile, self.entries, self.device = path, profile, entries, device

    @property
    def finished(self) -> bool:
        return all(entry.status == "done" for entry in self.entries)

    @property
    def data(self) -> Path:
        return self.path / "data"

    def notebook(self, name: str) -> Path:
        return self.path / "notebooks" / f"{name}.ipynb"

    def forget_metrics(self, name: str) -> None:
        """Drop what an earlier run of this notebook recorded."""
        sections = self._sections()
        if sections.pop(name, None) is not None:
            write(self.path / "metrics.json", json.dumps(sections, indent=1) + "\n")

    def summary(self) -> dict:
        """What summary.json holds."""
        sections = self._sections()
        seconds = round(sum(entry.seconds for entry in self.entries), 2)
        metrics: dict[str, float] = {"tutorial.seconds": seconds}
        cached: set[str] = set()
        for entry in self.entries:
            if entry.status == "pending":
                continue  # its numbers are those of cells that have changed since
            section = sections.get(entry.name, {})
            metrics.update(section.get("metrics", {}))
            cached.update(section.get("cached", []))
        return {
            "seconds": seconds,
            "notebooks": [entry.to_json() for entry in self.entries],
            "metrics": metrics,
            "cached": sorted(cached),
            "profile": self.profile,
            "device": self.device,
            "commit": commit(),
            "python": platform.python_version(),
            "finished": self.finished,
        }

    def save(self) -> dict:
        """Write summary.json and return what it holds."""
        summary = self.summary()
        write(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")
        return summary

    def _sections(self) -> dict:
        path = self.path / "metrics.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else {}


def create(runs: Path, profile: str, sources: dict[str, str], device: str = "cpu") -> RunFolder:
    """A new folder named by the time, with `latest` pointing at it. sources: notebook name -> hash."""
    runs.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    names = [stamp] + [f"{stamp}-{i}" for i in range(2, 100)]
    path = runs / next(name for name in names if not (runs / name).exists())
    run = RunFolder(path, profile, [Entry(name, source_sha256=sha) for name, sha in sources.items()], device)
    try:
        run.notebook("").parent.mkdir(parents=True)
        run.data.mkdir()
        run.save()
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    link = runs / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(path.name)
    link.replace(runs / "latest")
    return run


def latest(runs: Path, profile: str, sources: dict[str, str], device: str = "cpu") -> RunFolder | None:
    """The newest run if it can be gone on with (readable, of this profile and device), otherwise None.

    A notebook that has changed since, and all after it, count as not done.
    """
    path = (runs / "latest").resolve()
    try:
        saved = json.loads((path / "summary.json").read_text("utf-8"))
        if (saved["profile"], saved.get("device", "cpu")) != (profile, device):
            return None
        known = {record["name"]: Entry.from_json(record) for record in saved["notebooks"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    entries, stale = [], False
    for name, sha in sources.items():
        entry = known.get(name)
        stale = stale or entry is None or entry.source_sha256 != sha
        entries.append(entry if entry and not stale else Entry(name, source_sha256=sha))
    run = RunFolder(path, profile, entries, device)
    run.notebook("").parent.mkdir(parents=True, exist_ok=True)
    run.data.mkdir(exist_ok=True)
    return run


def source_hash(path: Path) -> str:
    """sha256 of what a notebook says and does (cells, tags), not of its outputs; UsageError if damaged."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        tags = [sorted(cell.get("metadata", {}).get("tags", [])) for cell in cells]
        content = [(cell["cell_type"], "".join(cell["source"])) for cell in cells], tags
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a readable notebook ({error}); restore it from git") from None
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def commit() -> str | None:
    """The checkout's commit, with "+changes" when files differ from it; None outside git."""
    root = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def write(path: Path, text: str) -> None:
    """Whole or not at all. Imported late: the arguments are checked before the library is installed."""
    from bdgan_lib.core.io import write_atomic

    write_atomic(path, text.encode("utf-8"))
