"""What goes to the Hub comes back byte for byte, and other tools read it there."""

import hashlib
import json
import socket

import numpy as np
import pytest
import torch

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.shards import ORIGIN, ShardedSet
from bdgan_lib.datasets.validate import validate
from bdgan_lib.heads.files import load_head
from bdgan_lib.hub import from_hub, pull, push
from bdgan_lib.profiles import load_profile
from benchmarks.hub import contents, hub_round_trip_equal, write_head, write_model, write_set

READ_STREAM = """
import hashlib, io, sys
import datasets, numpy
for place in sys.argv[1:]:
    for row in datasets.load_dataset(place, split="train", streaming=True):
        image = row.get("png") or row["jpg"]
        digests = (hashlib.sha256(numpy.asarray(x).tobytes()).hexdigest() for x in (image, row["mask.png"]))
        print(row["__key__"], row["json"]["seed"], *digests)
"""


def test_a_set_a_head_and_a_generator_come_back_byte_for_byte():
    pytest.importorskip("huggingface_hub")
    assert hub_round_trip_equal()


@pytest.mark.slow
def test_load_dataset_streams_images_and_masks_from_folder_and_repository(hub, tmp_path, quiet):
    pytest.importorskip("datasets")
    places, expected = list[str](), list[str]()
    digest = lambda array: hashlib.sha256(array.tobytes()).hexdigest()
    for jpeg in (0, 95):
        data = ShardedSet(write_set(tmp_path / f"set{jpeg}", jpeg=jpeg))
        push(data.folder, f"user/set{jpeg}", private=True, **quiet)
        for place in (str(data.folder), f"user/set{jpeg}"):
            places.append(place)
            expected += [f"{s.id} {s.seed} {digest(s.image)} {digest(s.mask)}" for s, _ in data]
    process = hub.run(tmp_path / "home", "-c", READ_STREAM, *places)
    assert process.stdout.splitlines() == expected, process.stderr


def test_a_pushed_set_is_whole_where_it_arrives_and_says_where_it_is_from(hub, tmp_path, quiet):
    folder = write_set(tmp_path / "set")
    (folder / "log.jsonl").write_text('{"host": "mine"}\n', encoding="utf-8")
    lines = list[str]()
    commit = push(folder, "user/set", message="First images", say=lines.append)
    assert lines == ["stays here: log.jsonl"]
    repository = hub.repositories["dataset", "user/set"]
    assert repository.messages[-1] == "First images" and commit == repository.branches["main"]
    assert pull("user/set", tmp_path / "back", **quiet) == commit
    assert validate(tmp_path / "back", progress=False) == []
    record = json.loads((tmp_path / "back" / ORIGIN).read_text(encoding="utf-8"))
    assert record == {"repo": "user/set", "type": "dataset", "revision": "main", "commit": commit}
    assert push(tmp_path / "back", "user/set", **quiet) == commit, "the same again makes no commit"
    assert len(repository.messages) == 2


def test_from_hub_loads_each_kind(hub, tmp_path, quiet):
    for name, write in (("set", write_set), ("head", write_head), ("model", write_model)):
        push(write(tmp_path / name), f"user/{name}", **quiet)
    data, head, profile = (from_hub(f"user/{name}") for name in ("set", "head", "model"))
    for (sample, record), (again, same) in zip(ShardedSet(tmp_path / "set"), data, strict=True):
        assert np.array_equal(sample.image, again.image) and np.array_equal(sample.mask, again.mask)
        assert record == same
    assert head.sha256 == load_head(tmp_path / "head").sha256
    seeds = torch.arange(2)
    first, second = (
        world.generator().sample(seeds, seeds, Sampling(), features=False).images
        for world in (load_profile(str(tmp_path / "model")), profile)
    )
    assert torch.equal(first, second) and profile.load_classifier() is not None


@pytest.mark.parametrize(("kind", "write"), [("head", write_head), ("model", write_model)])
def test_the_card_of_a_model_is_one_that_the_hub_reads(kind, write, hub, tmp_path, quiet):
    from huggingface_hub import ModelCard

    push(write(tmp_path / kind), "user/model", **quiet)
    files = hub.repositories["model", "user/model"].files()
    assert not (tmp_path / kind / "README.md").exists(), "the folder stays as it was"
    card = ModelCard(files["README.md"].decode())
    assert (
        card.data.library_name == "bdgan_lib"
        and card.data.license == "other"
        and "bdgan_lib" in card.data.tags
    )
    code = card.text.split("```python\n")[1].split("```")[0]
    assert 'from_hub("user/model"' in code and len(code.strip().splitlines()) <= 4
    compile(code, "card", "exec")
    assert ("| fid | 12.5 |" in card.text) == (kind == "model")


def test_a_card_of_the_user_s_goes_as_it_is(hub, tmp_path, quiet):
    text = b"---\nlicense: cc0-1.0\n---\n# Mine\n"
    (write_head(tmp_path / "head") / "README.md").write_bytes(text)
    push(tmp_path / "head", "user/head", **quiet)
    assert hub.repositories["model", "user/head"].files() == contents(tmp_path / "head")


def test_a_branch_of_its_own_is_made_and_main_stays(hub, tmp_path, quiet):
    hub.add("user/head", "model", {"other.json": b"{}"})
    push(write_head(tmp_path / "head"), "user/head", revision="v2", force=True, **quiet)
    repository = hub.repositories["model", "user/head"]
    assert "head.json" in repository.files("v2") and "head.json" not in repository.files("main")
    assert "other.json" not in repository.files("v2"), "--force leaves what was pushed and nothing else"
    pull("user/head", tmp_path / "back", revision="v2", **quiet)
    assert load_head(tmp_path / "back").sha256 == load_head(tmp_path / "head").sha256


def test_a_branch_that_moves_is_refused_and_a_commit_needs_no_network(hub, tmp_path, quiet):
    first = push(write_head(tmp_path / "head"), "user/head", **quiet)
    head = from_hub("user/head")
    pull("user/head", tmp_path / "back", **quiet)
    (tmp_path / "head" / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    second = push(tmp_path / "head", "user/head", force=True, **quiet)
    assert first != second
    for call in (lambda: from_hub("user/head"), lambda: pull("user/head", tmp_path / "back", **quiet)):
        with pytest.raises(ValueError, match=f"{first}.*{second}"):
            call()
    assert pull("user/head", tmp_path / "back", revision=first, **quiet) == first
    assert pull("user/head", tmp_path / "new", revision=second, **quiet) == second
    hub.requests.clear()
    assert from_hub("user/head", first).sha256 == head.sha256 and not hub.requests
    assert from_hub("user/head", second, kind="head").sha256 == head.sha256


def test_without_a_network_the_pinned_commit_is_loaded(hub, tmp_path, quiet, monkeypatch):
    push(write_head(tmp_path / "head"), "user/head", **quiet)
    head = from_hub("user/head", kind="head")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nowhere)
    assert from_hub("user/head", kind="head").sha256 == head.sha256
    with pytest.raises(ValueError, match="no connection to"):
        from_hub("user/head", "v9", kind="head")


def test_a_set_and_a_head_of_one_name_are_told_apart(hub, tmp_path, quiet):
    push(write_head(tmp_path / "head"), "user/both", **quiet)
    push(write_set(tmp_path / "set"), "user/both", **quiet)
    with pytest.raises(ValueError, match="is a data set and a model; say which"):
        from_hub("user/both")
    assert len(from_hub("user/both", kind="set")) == 12
    assert from_hub("user/both", kind="head").config.num_classes == 3
    with pytest.raises(ValueError, match="expected a model, got head"):
        from_hub("user/both", kind="model")


def test_files_are_compared_with_the_hashes_that_the_hub_states(hub, tmp_path, quiet, monkeypatch):
    commit = push(write_set(tmp_path / "set"), "user/set", **quiet)
    tree, name = hub.repositories["dataset", "user/set"].trees[commit], "shard_00001.tar"
    sent = {**tree, name: bytes(len(tree[name]))}
    monkeypatch.setattr(
        "benchmarks.hub_stub._Handler._file",
        lambda self, type, repo, revision, path: self._send(
            sent[path], 200, {"ETag": '"x"', "X-Repo-Commit": commit}
        ),
    )
    with pytest.raises(ValueError, match=f"{name} arrived damaged; run the same command again"):
        pull("user/set", tmp_path / "back", **quiet)
    assert not (tmp_path / "back").exists()
    sent[name] = tree[name]
    assert pull("user/set", tmp_path / "back", **quiet) == commit
    assert contents(tmp_path / "back") == contents(tmp_path / "set")
