"""Laws of a labelling session: what is acknowledged is on disk, and a later session finds it so."""

import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from bdgan_lib.annotation import aids
from bdgan_lib.annotation import session as session_module
from bdgan_lib.annotation.assist import superpixels
from bdgan_lib.annotation.segmenters import GrabCutSegmenter
from bdgan_lib.annotation.session import LONGEST_PAUSE, Session
from bdgan_lib.core import rle
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets import journal as journal_module
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.journal import Journal

from .conftest import SIDE, SQUARE, dab, item, picture, polygon

ITEMS = [item(0), item(1), item(2, 1)]
HOLE = [[8, 8], [12, 8], [12, 12], [8, 12]]
WORK = [
    polygon(rings=[SQUARE, HOLE]),
    {"do": "done", "done": True},
    dab(25, 25, instance=2),
    {"do": "undo"},
    {"do": "redo"},
    dab(10, 10, label=2),
    {"do": "next"},
    polygon(label=2),
    {"do": "undo"},
    dab(16, 16, 6),
    {"do": "skip"},
    {"do": "next"},
    polygon(instance=3),
    dab(5, 5, 2, label=0),
    {"do": "open", "id": "robin_00000000"},
    {"do": "stroke", "stroke": {"op": "fill", "point": [9, 9], "label": 255}},
    {"do": "undo"},
]


def opened(folder: Path, **more) -> Session:
    return Session(
        AnnotationStore(folder), more.pop("items", ITEMS), picture, more.pop("annotator", "ann"), **more
    )


def maps(session: Session) -> dict[str, bytes]:
    """Every image's labels and instances, as a session shows them."""
    found = {}
    for id in session.items:
        session.handle({"do": "open", "id": id})
        found[id] = session.state.history.maps.tobytes()
    return found


def test_every_stroke_is_in_the_store_when_it_is_acknowledged(session, folder):
    for command in WORK:
        session.handle(command)
        assert session.saved
        on_disk = AnnotationStore(folder)
        if not session.state.skipped and session.state.history.labels.any():
            found = on_disk.load(session.id)
            assert np.array_equal(found.mask, session.state.history.labels)
            assert np.array_equal(found.instances, session.state.history.instances)
    statuses = {"robin_00000000": "labelled", "robin_00000001": "skipped", "mug_00000002": "started"}
    assert session.status == statuses
    assert [a.id for a in on_disk] == ["robin_00000000"], "a skipped one is no label, nor one in the making"
    assert on_disk.load("mug_00000002").unfinished and [a.id for a in session.labelled()] == [
        "robin_00000000"
    ]
    assert on_disk.load("robin_00000001").skipped and (on_disk.load("robin_00000001").mask == 255).all()


def test_a_later_session_goes_on_at_the_same_image_with_every_undo(folder):
    with opened(folder) as first:
        for command in WORK:
            first.handle(command)
        id, history = first.id, first.state.history
    with opened(folder) as second:
        assert second.id == id and second.state.history.undone == history.undone
        assert np.array_equal(second.state.history.maps, history.maps)
        while second.state.history.strokes:
            second.handle({"do": "undo"})
        assert not second.state.history.labels.any() and id not in second.status
        assert id not in AnnotationStore(folder).ids(), "nothing drawn is no annotation"


def test_a_log_replays_to_the_same_masks_and_costs(folder, tmp_path):
    ticks = iter(range(0, 10_000, 7))
    with opened(folder, clock=lambda: float(next(ticks))) as first:
        for command in WORK:
            first.handle(command)
        log = first.log()
    with opened(tmp_path / "again") as second:
        second.replay(log)
        assert second.log() == log
    for a, b in zip(AnnotationStore(folder), AnnotationStore(tmp_path / "again"), strict=True):
        assert np.array_equal(a.mask, b.mask) and np.array_equal(a.instances, b.instances)
        assert a.extra == b.extra and a.extra["seconds"] > 0


def test_cost_is_kept_and_a_long_pause_is_no_work(folder):
    now = [0.0]
    with opened(folder, clock=lambda: now[0]) as session:
        now[0] = 5.0
        session.handle({**polygon(), "clicks": 5})
        now[0] = 10_000.0
        session.handle({**dab(3, 3), "clicks": 2, "done": True})
        found = session.labelled()[0]
    assert found.extra == {
        "seconds": 5.0 + LONGEST_PAUSE, "clicks": 7, "tools": {"polygon": 1, "brush": 1}, "entries": 2
    }  # fmt: skip
    assert found.annotator == "ann" and found.sampling == ITEMS[0].sampling


def test_labels_from_elsewhere_are_a_beginning_and_are_never_lost(folder):
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[3:9, 4:7] = 2
    store = AnnotationStore(folder)
    store.add(replace(ITEMS[0], mask=drawn, annotator="oracle"))
    with opened(folder) as session:
        assert np.array_equal(session.state.history.labels, drawn)
        session.handle(dab(20, 20))
    store.add(replace(store.load(ITEMS[0].id), mask=drawn))  # another tool brings its own back
    with opened(folder) as session:
        assert np.array_equal(session.state.history.labels, drawn) and not session.state.history.strokes
        assert store.load(ITEMS[0].id).annotator == "ann"


def test_two_sessions_never_write_in_one_folder(session, folder, tmp_path):
    session.handle(polygon())
    pid = os.fork()
    if not pid:  # another process
        try:
            opened(folder)
            os._exit(1)
        except BdganError as error:
            os._exit(0 if "open in another session" in str(error) else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with opened(folder) as newer:  # the notebook's cell was run again
        assert session.closed and newer.saved
        with pytest.raises(BdganError, match="newer one"):
            session.handle(polygon())
        newer.handle(dab(9, 9))
    assert len(AnnotationStore(folder)) == 1


@pytest.mark.parametrize(
    "command",
    [
        {}, {"do": "__init__"}, {"do": ["undo"]}, {"do": "stroke"}, {"do": "stroke", "stroke": [1]},
        {"do": "undo"}, {"do": "redo"}, {"do": "open"}, {"do": "open", "id": "../x"}, {"do": "previous"},
        {"do": "open", "id": "\0"}, {"do": "open", "id": "x" * 4096}, {"do": "propose"}, {"do": "learn"},
        {"do": "open", "id": ["x"]}, {"do": "grabcut", "box": [1, 2]}, {"do": "grabcut", "box": ["a"] * 4},
        {"do": "superpixel", "point": ["a", 1]}, {"do": "superpixel", "point": "<script>"},
        {"do": "grabcut"}, {"do": "outline"},
        {**dab(3, 3), "clicks": -1}, {**dab(3, 3), "seconds": float("nan")}, dab(3, 3, label=9),
        {"do": "grabcut", "box": [9, 9, 9, 9]},
    ],
    ids=lambda c: str(c)[:40],
)  # fmt: skip
def test_a_command_that_cannot_be_done_changes_nothing(session, folder, command):
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(BdganError):
        session.handle(command)
    assert session.saved and (folder / "journal.jsonl").read_bytes() == before
    assert not session.state.history.maps.any() and session.id == ITEMS[0].id


def test_a_command_is_done_once_on_the_image_it_was_drawn_on(session, folder):
    session.handle({"do": "next"})
    late = {**polygon(), "image": ITEMS[0].id, "origin": ["v", 1]}
    for _ in range(3):
        session.handle(late)
    assert session.id == ITEMS[1].id and not session.state.history.maps.any()
    found = AnnotationStore(folder).load(ITEMS[0].id)
    assert found.mask.any() and found.extra["entries"] == 1
    session.handle({"do": "undo", "image": ITEMS[0].id})
    assert AnnotationStore(folder).ids() == []
    session.handle({**dab(9, 9), "origin": ["v", 0]})  # older than what was answered
    assert not session.state.history.maps.any()
    for wrong in (
        {"image": "mug_00000009"},
        {"image": 3},
        {"origin": 7},
        {"origin": ["v", True]},
        {"origin": ["v", 2**53]},
        {"origin": ["v", -1]},
    ):
        with pytest.raises(BdganError):
            session.handle({**polygon(), **wrong})


def test_drawing_on_a_skipped_image_takes_the_skip_back(session, folder):
    session.handle({"do": "skip"})
    with pytest.raises(BdganError):
        session.handle(polygon(label=9))
    assert session.status == {ITEMS[0].id: "skipped"}
    session.handle(polygon())
    assert session.status == {ITEMS[0].id: "started"}
    with opened(folder) as again:
        assert again.status == {ITEMS[0].id: "started"}


class Everywhere:
    """A model that proposes one label everywhere."""

    labels = label = 1

    def fit(self, annotations) -> None:
        pass

    def propose(self, id: str) -> np.ndarray:
        return np.full((SIDE, SIDE), self.label, np.uint8)

    def divergence(self, ids) -> np.ndarray:
        return np.zeros(len(ids))


def test_a_proposal_leaves_what_a_person_drew(folder):
    with opened(folder, proposer=Everywhere()) as session:
        session.handle({"do": "propose"})
        assert (session.state.history.labels == 1).all()
        session.handle(polygon(label=2))
        session.handle(dab(28, 28, label=0))  # erased by hand: that stays empty
        by_hand = session.state.history.labels.copy()
        session.proposer.label = 2
        session.handle({"do": "propose"})
        found = session.state.history.labels
        assert np.array_equal(found, np.where(by_hand == 1, 2, by_hand)) and (found == 0).any()
        session.handle({"do": "undo"})
        assert np.array_equal(session.state.history.labels, by_hand)


MASK = {"label": 1, "instance": 2, "rle": rle.encode(np.tri(SIDE, dtype=bool))}
SOUND = [
    *WORK,
    {"do": "stroke", "stroke": {"op": "mask", "regions": [MASK], "whole": True, "tool": "wipe"}},
    {**polygon(replace=True), "seconds": 1.5, "clicks": 3},
    {"do": "grabcut", "box": [2, 2, 22, 22], "inside": [[9, 9]], "outside": [[1, 1]], "label": 1},
    {"do": "superpixel", "point": [10, 10], "label": 1, "instance": 1},
    {"do": "outline", "label": 1, "instance": 1}, {"do": "skip", "skipped": False}, {"do": "previous"},
    {"do": "propose", "instance": 1}, {"do": "learn"}, {"do": "queue"}, {"do": "save"},
    {"do": "preview", "points": [[10, 10, 1], [2, 2, 0]], "box": [1, 1, 28, 28], "segmenter": "grabcut"},
    {"do": "segment", "points": [[10, 10, 1]], "segmenter": "grabcut", "label": 2, "instance": 1,
     "mode": "protect", "image": "robin_00000000", "clicks": 2},
    {**dab(20, 20), "image": "robin_00000001", "origin": ["view", 1]},
    {"do": "segment", "points": [], "box": [2, 2, 22, 22]}, {"do": "done", "done": False},
    {"do": "stroke", "stroke": {"op": "relabel", "label": 1, "instance": 1, "to_label": 2, "to_instance": 4}},
    *(polygon(label=2, instance=2, mode=mode) for mode in ("protect", "subtract")),
    {"do": "stroke", "stroke": {"op": "mask", "regions": [MASK], "mode": "subtract"}},
    {"do": "superpixel", "point": [10, 10], "label": 1, "instance": 1, "mode": "subtract"},
]  # fmt: skip


def nested(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


WRONG = [
    float("nan"), float("inf"), -float("inf"), 1e300, -1, 0.5, 256, 10**30, 10**4000, 10**5000, None, True,
    "", "\0", "\ud800", "x\udfff", "x" * 100_000, "ü", [], {}, [[]], {"a": 1}, {1: 2}, {None: [1]},
    nested(20), nested(400), nested(3_000), object(), b"x", {1, 2}, 1j, np.float32(1), np.zeros(3), (1, 2),
]  # fmt: skip
STRANGE = ["x", "tool", "replace", "whole", "skipped", "id", "\ud800", 3]


def spoilt(noise: random.Random):
    """A sound command with up to two things wrong somewhere in it."""
    command = deepcopy(noise.choice(SOUND))
    places = [(command, key) for key in command]
    for holder, key in places:  # grows: all places within, too
        inner = holder[key]
        keys = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        places += [(inner, each) for each in keys]
    for holder, key in noise.sample(places, min(noise.choice((0, 1, 1, 1, 2)), len(places))):
        wrong, how = noise.choice(WRONG), noise.random()
        if isinstance(holder, list):
            holder[key : key + 1] = [wrong] if how < 0.6 else []
        elif how < 0.8:
            holder[key if how < 0.6 else noise.choice(STRANGE)] = wrong
        else:
            holder.pop(key, None)
    return noise.choice([command] * 30 + [noise.choice(WRONG)])


def standing(session: Session) -> tuple:
    """All that a refused command must leave as it is."""
    journal = (session.store.root / "journal.jsonl").read_bytes()
    state = session.state
    return (
        session.id, state.history.maps.tobytes(), state.done, state.skipped, state.clicks, state.seconds,
        journal, session.log(), dict(session.status),
    )  # fmt: skip


def test_no_refused_command_changes_a_thing(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    noise, refused, accepted = random.Random(21), 0, set()
    while refused < 5_000:
        with opened(folder, proposer=Everywhere()) as session:
            for command in WORK:
                with suppress(BdganError):  # nothing to undo
                    session.handle(command)
            for _ in range(600):
                before, command = standing(session), spoilt(noise)
                try:
                    session.handle(command)
                    accepted.add(command["do"])
                    assert command["do"] not in ("preview", "outline") or standing(session) == before
                except BdganError as error:
                    refused += 1
                    str(error).encode()  # can be shown
                    assert standing(session) == before and "failed:" not in str(error), error
                assert session.saved, session.error
            last = maps(session)
        with opened(folder) as again:
            assert maps(again) == last and not again.notice
    assert accepted == {command["do"] for command in SOUND} == set(session_module._COMMANDS)


def test_a_model_that_fails_is_told(folder):
    class Broken:
        labels = 0

        def fit(self, _):
            raise RuntimeError("no memory")

    with opened(folder, proposer=Broken()) as session, pytest.raises(BdganError, match="no memory"):
        session.handle({"do": "learn"})
    with pytest.raises(BdganError, match="surrogates not allowed"):
        opened(folder, annotator="\ud800")


UNUSABLE = {
    "a stroke that no image can hold": polygon(label=9),
    "half a surrogate pair": {"do": "stroke", "stroke": {**dab(9, 9)["stroke"], "tool": "\ud800"}},
    "another type": {"do": "stroke", "stroke": {**polygon()["stroke"], "replace": [1]}},
    "no stroke": {"do": "stroke"}, "no command": {"do": "fly"}, "nothing said": {},
    "a list": {"do": ["undo"]},
    "deep": {"do": "stroke", "stroke": {**polygon()["stroke"], "replace": nested(300)}},
    "a cost in words": {"do": "undo", "seconds": "long"}, "another key": {"do": "skip", "skipped": 1},
}  # fmt: skip


@pytest.mark.parametrize("entry", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("id", [ITEMS[0].id, None], ids=["of an image", "of none"])
def test_an_entry_that_cannot_be_used_is_passed_over_and_told(folder, entry, id):
    with opened(folder) as session:
        session.handle(polygon())
        session.handle(dab(25, 25, label=2))
        drawn = maps(session)
        session.handle({"do": "open", "id": ITEMS[0].id})
    text = json.dumps({"id": id, "by": "ann", "seconds": 1, "clicks": 1, **entry}, sort_keys=True).encode()
    with (folder / "journal.jsonl").open("ab") as journal:  # as an older version wrote it
        journal.write(b'{"entry": %s, "crc32": "%08x"}\n' % (text, crc32(text)))
    with pytest.warns(UserWarning, match="passed over"), opened(folder) as session:
        assert "passed over" in session.notice and session.state.item.id == ITEMS[0].id
        if id and entry.get("do") == "stroke":
            session.handle({"do": "undo"})  # of the stroke that drew nothing
        session.handle({"do": "undo"})
        assert session.saved and not session.notice and (session.state.history.labels == 1).any()
        session.handle({"do": "redo"})
        assert maps(session) == drawn


def labels(folder: Path) -> dict[str, bytes]:
    store = AnnotationStore(folder)
    return {id: store.load(id).mask.tobytes() for id in store.ids()}


@pytest.mark.filterwarnings("ignore:.*stand twice")
@pytest.mark.parametrize("how", ["cut", "flipped", "doubled"])
def test_a_mutated_journal_opens_or_is_refused_and_loses_nothing(folder, tmp_path, monkeypatch, how):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with opened(folder) as session:
        for command in WORK:
            session.handle(command)
        drawn = maps(session)
    whole, noise = (folder / "journal.jsonl").read_bytes(), random.Random(3)
    lines, refused = whole.splitlines(keepends=True), 0
    for n in range(100):
        data, k = bytearray(whole), noise.randrange(len(lines))
        if how == "cut":
            data = data[: noise.randrange(len(data))]
        elif how == "doubled":
            data = b"".join(lines[: k + 1] + lines[noise.randrange(k + 1) :])
        for _ in range(noise.choice((1, 1, 2, 9)) if how == "flipped" else 0):
            data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
        copy = Path(shutil.copytree(folder, tmp_path / str(n)))
        (copy / "journal.jsonl").write_bytes(data)
        try:
            with opened(copy) as session:
                assert session.saved and (how != "doubled" or maps(session) == drawn)
        except BdganError as error:
            refused += 1
            assert "damaged in line" in str(error) and (copy / "journal.jsonl").read_bytes() == data
        assert labels(copy) == labels(folder)
    assert (refused > 0) == (how == "flipped")


def test_help_of_the_image_is_one_stroke(session):
    session.handle({"do": "grabcut", "box": [2, 2, 22, 22]})
    truth = np.zeros((SIDE, SIDE), bool)
    truth[4:20, 4:20] = True
    assert ((session.state.history.labels == 1) == truth).mean() > 0.97
    session.handle({"do": "outline", "label": 1, "instance": 1})
    assert len(session.rings) == 1 and len(session.rings[0]) <= 12
    session.handle({"do": "undo"})
    session.handle({"do": "superpixel", "point": [10, 10]})
    assert session.state.history.labels[10, 10] == 1


@pytest.mark.slow
def test_a_session_that_is_killed_has_lost_nothing_it_acknowledged(tmp_path):
    times = os.environ.get("BDGAN_KILLS", "40")  # 500: see killed.py
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), times]
    counts = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert counts["kills"] == int(times) and counts["acknowledged"] > 0
    assert counts["lost"] == counts["unreadable"] == 0


class Disk:
    """Counts the calls that reach the disk; the one of number `fails` raises."""

    def __init__(self, monkeypatch) -> None:
        self.calls, self.fails = 0, -1
        for owner, name in (
            (os, "pwrite"), (os, "fsync"), (os, "open"), (os, "ftruncate"),
            (Path, "replace"), (Path, "unlink"), (Path, "open"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name), name))

    def _counted(self, call, name):
        def counted(*args, **kwargs):
            if "rb" in (*args[1:2], kwargs.get("mode")):
                return call(*args, **kwargs)
            self.calls += 1
            if self.calls - 1 == self.fails:
                raise OSError(28, f"No space left on device ({name})")
            return call(*args, **kwargs)

        return counted


def test_whatever_the_disk_refuses_is_told_and_nothing_is_lost(tmp_path, monkeypatch):
    stages = [_after(n, tmp_path / f"plain{n}") for n in range(len(WORK) + 1)]
    disk = Disk(monkeypatch)
    with opened(tmp_path / "counted") as session:
        first = disk.calls
        for command in WORK:
            session.handle(command)
        total = disk.calls
    assert total - first > 100
    for k in range(first, total):
        folder, reported = tmp_path / str(k), False
        disk.calls, disk.fails = 0, k
        with opened(folder) as session:
            for n, command in enumerate(WORK):
                session.handle(command)
                if disk.calls > k and not reported:
                    reported = True
                    if not session.saved:
                        assert "No space left" in session.error
                        # if the machine stopped now: all that was acknowledged before, and this or not
                        shutil.copytree(folder, tmp_path / f"{k}-crash")
                        with opened(tmp_path / f"{k}-crash") as other:
                            assert maps(other) in stages[n : n + 2]
            session.handle({"do": "save"})
            assert reported and session.saved and not session.error
        disk.fails = -1
        with opened(folder) as again:
            assert maps(again) == stages[-1], k


def _after(count: int, folder: Path) -> dict[str, bytes]:
    """What stands after that many commands on a good disk."""
    with opened(folder) as session:
        for command in WORK[:count]:
            session.handle(command)
        return maps(session)


def test_a_disk_that_cannot_be_read_is_told(session, monkeypatch):
    session.handle(polygon())
    session.handle({"do": "next"})
    with monkeypatch.context() as broken:
        broken.setattr(
            Path, "read_bytes", lambda path: (_ for _ in ()).throw(OSError(5, "Input/output error"))
        )
        with pytest.raises(BdganError, match="Input/output error; try again"):
            session.handle({"do": "previous"})
    assert session.id == ITEMS[1].id
    session.handle({"do": "previous"})
    assert session.state.history.labels.any()


def test_a_short_write_is_completed(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(journal_module.os, "pwrite", lambda f, data, at: whole(f, data[:7], at))
    journal = Journal(tmp_path / "j")
    journal.append({"do": "a", "x": [1.5, "é\n"]})
    journal.close()
    assert Journal(tmp_path / "j").entries == [{"do": "a", "x": [1.5, "é\n"]}]


def test_a_torn_end_is_dropped_and_damage_before_it_is_named(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path)
    for k in range(5):
        journal.append({"k": k})
    journal.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = Journal(path)
        assert [e["k"] for e in found.entries] == list(range((whole[:cut] + b"\n").count(b'"}\n')))
        found.append({"k": "new"})
        found.close()
        assert [e["k"] for e in Journal(path).entries][-1] == "new"
    for line in range(4):
        for at in range(len(lines[line])):
            spoilt = bytearray(lines[line])
            spoilt[at] ^= 1
            path.write_bytes(b"".join([*lines[:line], bytes(spoilt), *lines[line + 1 :]]))
            with pytest.raises(BdganError, match=rf"damaged in line {line + 1}"):
                Journal(path)


@pytest.mark.parametrize("data", [b"mine", b'{"text": "mine"}', b'{"a": 1}\n', b"a\nb"])
def test_a_file_that_is_no_journal_is_refused_and_stays(tmp_path, data):
    path, link = tmp_path / "j", tmp_path / "link"
    path.write_bytes(data)
    link.symlink_to(path)
    (tmp_path / "nowhere").symlink_to("absent")
    (tmp_path / "folder").mkdir()
    for place in (path, link, tmp_path / "nowhere", tmp_path / "folder"):
        with pytest.raises(BdganError, match="move it away"):
            Journal(place)
    assert path.read_bytes() == data and not (tmp_path / "absent").exists()


def test_only_what_is_done_is_learnt_from(folder):
    with opened(folder) as session:
        session.handle(polygon())
        with pytest.raises(BdganError, match="nothing is drawn"):
            session.handle({"do": "done", "done": True, "image": ITEMS[1].id})
        assert session.status == {ITEMS[0].id: "started"} and not session.labelled()
        session.handle({"do": "done", "done": True})
        session.handle(dab(3, 3))
        assert session.status == {ITEMS[0].id: "labelled"}, "a correction does not undo it"
        session.handle({"do": "done", "done": False})
        assert not list(AnnotationStore(folder)) and not session.labelled()
    with opened(folder) as session:
        assert session.status == {ITEMS[0].id: "started"}
        session.handle({"do": "skip"})
        with pytest.raises(BdganError, match="skipped"):
            session.handle({"do": "done", "done": True})
        session.handle({"do": "undo"})
        assert session.status == {ITEMS[0].id: "started"} and len(session.state.history.strokes) == 2
        session.handle({"do": "done", "done": True})
    (folder / "journal.jsonl").unlink()
    with opened(folder) as session:
        session.handle(dab(25, 25))
        assert session.status == {ITEMS[0].id: "labelled"}, "what others stored counts"


@pytest.mark.parametrize(
    "before",
    [
        [{"do": "skip"}],
        [{"do": "skip"}, {"do": "skip", "skipped": False}],
        [polygon(), {"do": "done", "done": True}, {"do": "undo"}],
        [polygon(), {"do": "done", "done": True}, {"do": "stroke", "stroke": {
            "op": "relabel", "label": 1, "instance": 1, "to_label": 0, "to_instance": 0}}],
    ],
)  # fmt: skip
def test_the_first_stroke_on_an_image_without_labels_is_not_done(folder, before):
    for stop in range(2):
        with opened(folder) as session:
            for command in [*before, dab(9, 9)] if not stop else []:
                session.handle(command)
            assert session.status == {ITEMS[0].id: "started"} and not list(session.store)
    with opened(folder) as session:
        session.handle({"do": "done", "done": True})
        assert session.status == {ITEMS[0].id: "labelled"}


class Pupil(GrabCutSegmenter):
    """Keeps what it was given to learn from before each start."""

    def __init__(self):
        super().__init__()
        self.lessons = []

    def learn(self, labelled):
        self.lessons.append({a.id: a.mask.tobytes() for a in labelled})


def test_a_segmenter_learns_from_the_done_images_of_the_class(folder):
    pupil = Pupil()
    with opened(folder, segmenters=[pupil]) as session:
        for id in list(session.items)[::-1]:  # the first two are of one class
            session.handle({"do": "open", "id": id})
            session.handle(dab(10, 10))
            session.handle({"do": "preview", "points": [[10, 10, 1]]})
            if id == ITEMS[1].id:
                session.handle({"do": "done", "done": True})
        session.handle({"do": "done", "done": True})
        session.handle(
            {"do": "open", "id": ITEMS[1].id}
        )  # again: a click is what it would be after a restart
        for _ in range(2):  # the second click waits for nothing
            session.handle({"do": "preview", "points": [[10, 10, 1]]})
        first, second = ({a.id: a.mask.tobytes()} for a in session.labelled())
    assert pupil.lessons == [{}, {}, second, first | second]


def test_what_a_segmenter_learns_is_the_same_in_whatever_order_images_were_done(folder):
    pupils, ids = [Pupil(), Pupil()], [ITEMS[1].id, ITEMS[0].id]
    items = [item(0), item(1), item(3)]
    for pupil in pupils:
        with opened(folder, items=items, segmenters=[pupil]) as session:
            for id in [] if session.status else ids:
                session.handle({"do": "open", "id": id})
                session.handle({**dab(10, 10), "done": True})
            session.handle({"do": "open", "id": items[2].id})
            session.handle({"do": "preview", "points": [[10, 10, 1]]})
    first, again = ([list(lesson) for lesson in pupil.lessons] for pupil in pupils)
    assert first == again == [ids[::-1]]


def test_what_older_sessions_drew_counts_as_done(folder, tmp_path):
    with opened(folder) as session:
        for command in (polygon(), dab(25, 25), {"do": "next"}, polygon(label=2)):
            session.handle({**command, "done": None})  # as they wrote it
        log, labels = session.log(), session.labelled()
    assert len(labels) == 2 and "done" not in labels[0].extra | log[0]
    with opened(tmp_path / "again") as session:
        session.replay(log)
        assert session.log() == log and len(session.labelled()) == 2


def test_a_log_replays_into_a_session_that_has_seen_its_views(folder, tmp_path):
    with opened(folder) as session:
        for n, command in enumerate([dab(5, 5), {"do": "skip"}, dab(20, 20), dab(9, 9)]):
            session.handle({**command, "origin": ["view", n]})
        log, maps = session.log(), session.state.history.maps.copy()
    with opened(tmp_path / "again") as session:
        session.handle({**dab(30, 30), "origin": ["view", 99]})
        session.handle({"do": "undo"})
        session.replay(log)
        assert np.array_equal(session.state.history.maps, maps) and not session.state.skipped
        assert len(session.log()) == len(log) + 2, "what drawing on a skipped image adds is there once"


def test_superpixels_of_a_large_picture_are_found_once(tmp_path, monkeypatch):
    calls, large = [], item(side=1000)
    monkeypatch.setattr(aids, "superpixels", lambda image: calls.append(image.shape) or superpixels(image))
    with Session(AnnotationStore(tmp_path / "large"), [large], picture, "ann") as session:
        for x, label in ((300, 1), (700, 2)):
            session.handle({"do": "superpixel", "point": [x, 300], "label": label})
            assert session.state.history.labels[300, x] == label
        with pytest.raises(BdganError, match="outside the image; click inside"):
            session.handle({"do": "superpixel", "point": [1000, 3]})
    assert calls == [(384, 384, 3)]
