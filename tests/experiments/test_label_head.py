"""The experiment on label heads, small: every trial and seed is there, and a second call measures nothing."""

from bdgan_lib.experiments import label_head
from bdgan_lib.profiles import load_profile


def test_an_experiment_measures_every_trial_and_resumes(tmp_path):
    profile = load_profile("pocket")
    few = ("fast", "1 label", "ensemble 2")
    result = label_head.run(profile, tmp_path, 2, few, test_samples=24, steps=2)
    assert list(result["cells"]) == [f"{name} / {seed}" for name in few for seed in (0, 1)]
    for cell in result["cells"].values():
        assert 0 <= cell["fgbg_miou"] <= 1 and cell["gflop"] > 0 and cell["training"] == {"steps": 2}
    curve = result["cells"]["ensemble 2 / 0"]
    assert len(curve["kept_miou"]) == 6 and len(curve["drop10_gain"]) == 3
    assert label_head.run(profile, tmp_path, 2, few, test_samples=24, steps=2)["cells"] == result["cells"]


def test_every_trial_is_one_a_head_can_have():
    for name, trial in label_head.TRIALS.items():
        assert set(trial) <= {"architecture", "training", "labels"}, name
        label_head.Architecture(**trial.get("architecture", {}))
        label_head.HeadTraining(**trial.get("training", {}))


def test_labels_are_drawn_from_those_that_ship_as_many_of_every_class():
    bench = label_head.LabelHeadExperiment(load_profile("pocket"), 12)
    shipped = {(a.class_id, a.seed) for a in bench.profile.annotations()}
    assert shipped
    for labels in (1, 2, 5, 10):
        chosen = bench.chosen(labels, 0)
        assert bench.pool.class_ids[chosen].bincount().tolist() == [labels] * 12
        assert len(set(chosen.tolist())) == 12 * labels
    assert bench.chosen(2, 0).tolist() != bench.chosen(2, 1).tolist()
    assert bench.chosen(5, 0).sort().values.tolist() == bench.chosen(5, 1).sort().values.tolist()
