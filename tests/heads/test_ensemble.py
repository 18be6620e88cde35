"""The JS divergence: by its definition, its bounds, and what it ignores."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from bdgan_lib.heads.ensemble import Members, image_divergence, log_odds, mean_and_divergence


def random_logits(members=5, labels=3, scale=3.0):
    return torch.randn(2, members, labels, 4, 6, generator=torch.Generator().manual_seed(0)) * scale


def js_divergence(logits):
    return mean_and_divergence(log_odds(logits))[1]


@pytest.mark.parametrize(("members", "labels"), [(5, 2), (5, 3), (100, 2), (150, 2)])
@pytest.mark.parametrize("scale", [0.01, 3, 30])
def test_it_is_the_mean_relative_entropy_to_the_mean(members, labels, scale):
    """Entropies' difference equals mean KL(P_m || mean P), here by scipy in float64."""
    logits = random_logits(members, labels, scale)
    p = logits.double().softmax(2).numpy()
    expected = rel_entr(p, p.mean(1, keepdims=True)).sum(2).mean(1)
    np.testing.assert_allclose(js_divergence(logits).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("members", "labels", "bound"),
    [(2, 5, np.log(2)), (6, 2, np.log(2)), (4, 4, np.log(4)), (8, 3, np.log(3))],
)
def test_members_that_disagree_for_sure_reach_its_bound(members, labels, bound):
    certain = torch.eye(labels)[torch.arange(members) % labels] * 80
    logits = certain[None, :, :, None, None].expand(1, -1, -1, 2, 2)
    reached = js_divergence(logits)
    assert (reached <= bound + 1e-5).all()
    if members % labels == 0 or members < labels:
        torch.testing.assert_close(reached, torch.full((1, 2, 2), float(bound)), atol=1e-5, rtol=0)


def test_members_that_agree_have_none_however_unsure_they_are():
    same = random_logits()[:, :1].expand(-1, 5, -1, -1, -1)
    assert js_divergence(same).abs().max() < 1e-6
    assert js_divergence(random_logits(members=1)).eq(0).all()


def test_neither_the_members_order_nor_a_constant_on_the_logits_matters():
    logits = random_logits()
    divergence = js_divergence(logits)
    torch.testing.assert_close(js_divergence(logits[:, [3, 1, 4, 0, 2]]), divergence)
    torch.testing.assert_close(js_divergence(logits + 40), divergence, atol=1e-5, rtol=0)


@pytest.mark.parametrize("labels", [2, 3])
def test_the_mean_is_that_of_the_members_probabilities(labels):
    logits = random_logits(labels=labels)
    mean, _ = mean_and_divergence(log_odds(logits))
    torch.testing.assert_close(mean, logits.softmax(2).mean(1))


@pytest.mark.parametrize(("members", "labels", "scale"), [(1, 2, 2), (3, 2, 1), (6, 4, 2), (16, 2, 2)])
def test_the_short_way_to_the_log_odds_leads_to_the_same(members, labels, scale):
    outputs, x = Members(5, members, labels, scale), torch.randn(2, 5, 4, 6)
    torch.testing.assert_close(outputs.log_odds(x), log_odds(outputs(x)), atol=1e-5, rtol=1e-5)


def test_an_image_s_divergence_is_its_pixels_mean():
    pixels = np.float32([[[0, 1], [0, 1]], [[0, 0], [0, 0]]])
    assert image_divergence(pixels).tolist() == [0.5, 0.0]


def test_each_member_has_its_own_layers():
    members = Members(5, 3, 2, scale=2, width=4)
    x = torch.randn(1, 5, 4, 4)
    before = members(x)
    assert before.shape == (1, 3, 2, 8, 8)
    with torch.no_grad():
        members.read.weight[4:8] += 1  # of the second one
        members.write.weight[16:] *= 2  # of the third one
    changed = (members(x) != before).flatten(2).any(2)[0]
    assert changed.tolist() == [False, True, True]
