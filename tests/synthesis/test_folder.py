"""Laws of the folder: nothing of the user's is lost, one process writes, a finished set is left as it is."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT
from bdgan_lib.datasets.shards import CALIBRATION, LOG, MANIFEST, read_manifest, write_manifest
from bdgan_lib.datasets.validate import validate
from bdgan_lib.synthesis.filters import Calibration, Models, load_or_calibrate_filters
from bdgan_lib.synthesis.folder import LOCK, check_folder, only_writer
from bdgan_lib.synthesis.job import synthesize

from .killed import MODELS
from .killed import SPEC as NOISE
from .test_job import SPEC, TinyGenerator, TinyHead, content

TEMPORARY = ".0123456789abcdef.tmp"  # as a killed process leaves it


def make(folder: Path, spec=SPEC, **settings):
    return synthesize(spec, Models(TinyGenerator(), TinyHead()), folder, progress=False, **settings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (CARD, "# My notes"),
        (CROISSANT, "{}"),
        (LOG, "mine"),
        (MANIFEST, '{"name": "my web application"}'),
        ("shard_00000.json", "{}"),
        ("shard_00000.tar", "another tool's"),
        ("shard_00000.dropped.jsonl", "mine"),
        (CALIBRATION, '{"camera": 1}'),
        (".important.tmp", "mine"),
        ("photo.png", "mine"),
        (LOCK, "mine"),
    ],
)
@pytest.mark.parametrize("calibration", [None, Calibration(1, 0.5, 50)], ids=["set", "thresholds"])
def test_a_folder_of_the_user_s_is_refused_and_left_as_it_is(tmp_path, name, text, calibration):
    (tmp_path / name).write_text(text)
    with pytest.raises(BdganError, match=name.replace(".", r"\.")):
        make(tmp_path, calibration=calibration)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


def other_set(folder: Path, name: str) -> str:
    """The content of a file of another data set."""
    make(folder, replace(SPEC, first_seed=7))
    return (folder / name).read_text("latin-1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.tar", lambda _: "mine"),
        ("shard_00000.tar", lambda _: "mine"),
        ("shard_00007.tar", lambda _: '"generator_sha256"'),
        ("shard_00000.json", lambda _: "{}"),
        (CARD, lambda _: "# My notes"),
        (LOG, lambda _: "mine"),
        (MANIFEST, lambda folder: other_set(folder, MANIFEST)),
        ("shard_00000.json", lambda folder: other_set(folder, MANIFEST)),
        (
            "shard_00000.json",
            lambda folder: other_set(folder, MANIFEST).replace("shard_00000", "shard_00001"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_thresholds_of_other_settings_stay_where_the_folder_is_refused(tmp_path, name, text):
    """Those of an earlier command are replaced where nothing else is there, and nowhere else."""
    folder = tmp_path / "set"
    spec = replace(SPEC, images_per_class=90, shard_size=6)
    with pytest.raises(KeyboardInterrupt):
        synthesize(spec, Models(TinyGenerator(), Stopped()), folder, 1, False, 1, Calibration(1, 0.9, 50))
    assert list(content(folder)) == [CALIBRATION]
    (folder / name).write_text(text(tmp_path / "other"), "latin-1")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    with pytest.raises(BdganError, match=f"{name}|{MANIFEST}"):
        make(folder, calibration=Calibration(1, 0.5, 50))
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before
    (folder / name).unlink()
    make(folder, calibration=Calibration(1, 0.5, 50))
    assert (folder / CALIBRATION).read_bytes() != before[CALIBRATION][0]


class Stopped(TinyHead):
    """A head that is stopped once the thresholds are known."""

    calls = 0

    def predict_with_uncertainty(self, sample):
        self.calls += 1
        if self.calls > 2:  # batches of 25
            raise KeyboardInterrupt
        return super().predict_with_uncertainty(sample)


def test_thresholds_in_the_job_are_those_of_a_specification_that_has_them(tmp_path):
    calibration, models = Calibration(1, 0.5, 50), Models(TinyGenerator(), TinyHead())
    found = make(tmp_path / "a", calibration=calibration)
    filters = load_or_calibrate_filters(tmp_path, models, SPEC.class_ids, SPEC.sampling, calibration)
    expected = make(tmp_path / "b", replace(SPEC, filters=filters))
    (tmp_path / "a" / CALIBRATION).unlink()
    assert content(found.folder) == content(expected.folder) and 0 < len(found) < SPEC.count


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BdganError, match="is a file; give a folder"):
        make(tmp_path / "file")


def test_of_the_temporary_files_those_of_killed_processes_go(tmp_path):
    make(tmp_path)
    (tmp_path / "shard_00001.tar").unlink()
    for name in (".important.tmp", TEMPORARY):
        (tmp_path / name).touch()
    make(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".important.tmp"]


def test_notes_in_place_of_the_data_card_are_kept(tmp_path):
    before = content(make(tmp_path).folder)
    (tmp_path / CARD).write_text("# My notes")
    make(tmp_path)
    (tmp_path / "shard_00001.tar").unlink()
    make(tmp_path)
    assert content(tmp_path) == {**before, CARD: b"# My notes"}


@pytest.mark.parametrize("name", [CARD, CROISSANT])
@pytest.mark.parametrize("lost", ["", "shard_00001.tar", "other", MANIFEST])
def test_a_card_that_was_edited_stays_and_the_other_one_is_written(tmp_path, name, lost, capsys):
    before, other = content(make(tmp_path).folder), CROISSANT if name == CARD else CARD
    edited = before[name].replace(b"CVPR", b"the CVPR")
    (tmp_path / name).write_bytes(edited)
    if lost:
        (tmp_path / (other if lost == "other" else lost)).unlink()
    synthesize(SPEC, Models(TinyGenerator(), TinyHead()), tmp_path, progress=True)
    assert content(tmp_path) == {**before, name: edited}
    told = capsys.readouterr().out.count(f"{name} is edited or of another origin and stays; `bdgan describe`")
    assert told == (lost != ""), "nothing is compared where nothing is written"
    assert validate(tmp_path, progress=False) == []


def test_cards_of_a_manifest_that_was_replaced_are_written_anew_unless_they_were_edited(tmp_path):
    whole = content(make(tmp_path).folder)
    digest = sha256_of(tmp_path / MANIFEST)
    manifest = read_manifest(tmp_path / MANIFEST)
    for edit in (b"", b"mine"):
        about = {key: value for key, value in manifest.items() if key not in ("shards", "count", "sha256")}
        write_manifest(tmp_path / MANIFEST, manifest["shards"], about | {"counts": {"made": 99, "kept": 14}})
        (tmp_path / "shard_00001.tar").unlink()
        for name in (CARD, CROISSANT):
            old = whole[name].replace(digest.encode(), sha256_of(tmp_path / MANIFEST).encode())
            (tmp_path / name).write_bytes(old + edit * (name == CARD))
        if edit:
            with pytest.raises(
                BdganError, match=r"finished, but .*README\.md states the sha256 of files that"
            ):
                make(tmp_path)
            assert (tmp_path / CARD).read_bytes().endswith(b"mine")
        else:
            make(tmp_path)
            assert content(tmp_path) == whole


@pytest.mark.parametrize("name", [CARD, CROISSANT])
def test_a_card_of_another_set_is_told_by_synthesis_as_by_validation(tmp_path, name):
    make(tmp_path)
    (tmp_path / name).write_bytes(
        (make(tmp_path / "b", replace(SPEC, first_seed=50)).folder / name).read_bytes()
    )
    shutil.rmtree(tmp_path / "b")
    (line,) = validate(tmp_path, progress=False)
    with pytest.raises(BdganError) as error:
        make(tmp_path)
    assert str(error.value) == f"the data set is finished, but {line}"


@pytest.mark.parametrize("name", [LOG, LOCK])
def test_a_link_to_a_file_elsewhere_is_refused(tmp_path, name):
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BdganError, match="is a link"):
        make(tmp_path / "set")
    assert (tmp_path / "elsewhere").read_text() == ""


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    make(tmp_path)
    (tmp_path / "shard_00001.tar").unlink()
    with only_writer(tmp_path):
        (tmp_path / TEMPORARY).touch()
        for write in (make, check_folder):
            with pytest.raises(
                BdganError, match=f"is being written by process {os.getpid()} on .*, since 20"
            ):
                write(tmp_path)
        assert (tmp_path / TEMPORARY).exists()
    make(tmp_path)
    assert not (tmp_path / LOCK).exists() and validate(tmp_path, progress=False) == []


RUN = """
import sys
sys.path.insert(0, {tests!r})
import itertools, os, signal, threading, killed
from bdgan_lib.synthesis import shard
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
number, records, write, alone = {number}, itertools.count(), shard.write_manifest, threading.Lock()
def end(*arguments):
    with alone:  # two records are whole when the third one ends the process
        next(records) == 2 and os.kill(os.getpid(), number)
        write(*arguments)
shard.write_manifest = end
killed.synthesize(killed.SPEC, killed.MODELS, {folder!r}, progress=False, writers={writers})
"""


@pytest.mark.parametrize(
    ("number", "writers"), [(signal.SIGINT, 3), (signal.SIGTERM, 1), (signal.SIGTERM, 3), (signal.SIGKILL, 3)]
)
def test_an_ended_run_leaves_the_last_good_state_and_its_lock_is_taken_over(tmp_path, number, writers):
    tests, folder = str(Path(__file__).parent), tmp_path / "set"
    program = RUN.format(tests=tests, folder=str(folder), number=int(number), writers=writers)
    code = subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode
    assert code == (143 if number == signal.SIGTERM else -number)
    names = {path.name for path in folder.iterdir()}
    assert len([name for name in names if name.endswith(".json")]) >= 2 and MANIFEST not in names
    assert (LOCK in names) == (number == signal.SIGKILL)
    assert number == signal.SIGKILL or not any(name.endswith(".tmp") for name in names)
    (folder / TEMPORARY).touch()
    synthesize(NOISE, MODELS, folder, progress=False)
    whole = synthesize(NOISE, MODELS, tmp_path / "whole", progress=False)
    assert content(folder) == content(whole.folder)


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" -c "$2"'
AGAIN = """
import sys
sys.path.insert(0, {tests!r})
import killed
print(len(killed.synthesize(killed.SPEC, killed.MODELS, {folder!r}, progress=False)))
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="no mount of its own")
@pytest.mark.parametrize("lost", ["", "shard_00001.tar"])
def test_a_finished_set_on_a_read_only_disk_is_a_success(tmp_path, lost):
    data = synthesize(NOISE, MODELS, tmp_path, progress=False)
    if lost:
        (tmp_path / lost).unlink()
    program = AGAIN.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    command = ["unshare", "-rm", "sh", "-c", READ_ONLY, sys.executable, str(tmp_path), program]
    if subprocess.run([*command[:4], f"mount --bind {tmp_path} {tmp_path}"]).returncode:
        pytest.skip("mounts are not allowed here")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout == f"{len(data)}\n") == (not lost), done.stderr
    assert lost == "" or "Read-only file system" in done.stderr


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"first_seed": 2**63 - 15}, "first_seed"),
        ({"first_seed": 10**26}, "first_seed"),
        ({"images_per_class": 10**26}, "first_seed"),
        ({"batch_size": 15}, "batch_size is 15; give at most"),
    ],
)
def test_numbers_that_no_seed_or_batch_can_hold_are_refused(change, text):
    with pytest.raises(BdganError, match=text):
        replace(SPEC, **change)
    assert replace(SPEC, first_seed=2**63 - 18).count == 14


def test_a_batch_larger_than_a_shard_is_warned_of(tmp_path, capsys):
    synthesize(replace(SPEC, shard_size=3), Models(TinyGenerator(), TinyHead()), tmp_path, progress=True)
    assert "a batch of 4 is computed again for each shard of 3" in capsys.readouterr().out
