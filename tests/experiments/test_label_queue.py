"""The experiment on the queue, small: every arm is there, and a second call measures nothing."""

from functools import partial

from bdgan_lib.experiments import label_queue
from bdgan_lib.profiles import load_profile


def test_every_arm_is_measured_and_a_second_call_resumes(tmp_path, monkeypatch):
    brief = partial(label_queue.Proposer, steps=3, warm_steps=2)  # any uncertainty orders the pool
    monkeypatch.setattr(label_queue, "Proposer", brief)
    profile = load_profile("pocket")
    small = {"points": (12, 14), "steps": 2, "candidates": 36, "test_samples": 24}
    result = label_queue.run(profile, tmp_path, 1, **small)
    assert set(result["cells"]) == {
        f"{t} / {arm} / 0" for t in label_queue.TARGETS for arm in label_queue.ARMS
    }
    cells = result["cells"]
    for cell in cells.values():
        assert len(cell["miou"]) == 2 and all(0 <= score <= 1 for score in cell["miou"])
        assert len(set(cell["order"])) == 14
    queue, balanced = (cells[f"parts / {arm} / 0"]["order"] for arm in ("queue", "balanced random"))
    assert queue[:12] == balanced[:12] and queue != balanced, "both begin with the same sample of each class"
    assert label_queue.run(profile, tmp_path, 1, **small)["cells"] == cells


def test_test_samples_are_none_of_the_pool():
    assert label_queue.POOL_SEED + 10_000 <= label_queue.FIRST_SEED
    bench = label_queue.QueueExperiment(load_profile("pocket"), 24, 12)
    assert {a.seed for a in bench.labels} == set(range(10_200_000, 10_200_024))
    assert bench.test.class_ids.tolist() == list(range(12)), "as many of each class"
