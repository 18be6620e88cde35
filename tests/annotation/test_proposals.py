"""The proposer: it learns from what is labelled, goes on from where it was, and says what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bdgan_lib.annotation.assist import overlap
from bdgan_lib.annotation.proposals import Proposer
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.profiles import load_profile


@pytest.fixture(scope="module")
def world():
    profile = load_profile("pocket")
    return profile.generator(), list(profile.annotations())[::4]  # 15 labelled samples


def blank(annotation):
    return replace(annotation, mask=np.zeros_like(annotation.mask))


def small(world, **settings):
    return Proposer(world[0], [blank(a) for a in world[1]], **{"steps": 12, "warm_steps": 4, **settings})


def test_it_learns_what_an_object_is(world):
    proposer = small(world, steps=40)
    learnt, new = world[1][:8], world[1][8:]
    assert proposer.labels == 0
    assert proposer.fit(learnt) == proposer.labels == 8
    found = [overlap(proposer.propose(a.id) > 0, a.mask > 0) for a in new]
    assert np.mean(found) > 0.7
    mask = proposer.propose(new[0].id)
    assert mask.dtype == np.uint8 and mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 1}


def test_the_same_fits_give_the_same_proposals_and_leave_the_noise_of_others_alone(world):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    found = []
    for _ in range(2):
        proposer = small(world)
        for count in (2, 3):
            proposer.fit(world[1][:count])
        found.append(proposer.divergence([a.id for a in world[1]]))
    assert np.array_equal(*found)
    assert torch.equal(torch.rand(2), expected)


def test_a_later_fit_goes_on_from_the_last(world):
    warm, cold = small(world, warm_steps=1), small(world, steps=1)
    for proposer in (warm, cold):
        proposer.fit(world[1][:4])
    before = warm.propose(world[1][9].id)
    warm.fit(world[1][:5])
    moved = (warm.propose(world[1][9].id) != before).mean()
    assert 0 < moved < (cold.propose(world[1][9].id) != before).mean()
    assert warm.labels == 5


def test_divergence_is_the_images_and_independent_of_its_neighbours(world):
    proposer = small(world)
    proposer.fit(world[1][:4])
    ids = [a.id for a in world[1]]
    nats = proposer.divergence(ids)
    assert nats.shape == (15,) and (nats >= 0).all() and (nats <= np.log(2)).all() and nats.max() > 0
    assert np.allclose(proposer.divergence(ids[::-1])[::-1], nats, atol=1e-6)
    assert proposer.divergence([]).shape == (0,)


def test_parts_stay_within_those_of_the_class(world):
    proposer = small(world, parts=True)
    proposer.fit(world[1][:6])
    for a in world[1]:
        assert proposer.propose(a.id).max() < len(a.classes)
        replace(a, mask=proposer.propose(a.id))


def test_only_what_is_labelled_is_learnt(world):
    first, second, *others = world[1]
    nothing = replace(second, mask=np.full_like(second.mask, UNLABELLED))
    skipped = replace(others[0], extra={"skipped": True})
    proposer = small(world)
    assert proposer.fit([first, nothing, skipped, *map(blank, others[1:])]) == 1


def test_what_is_missing_is_named(world):
    proposer, first = small(world), world[1][0]
    for annotations in ([], [blank(first)]):
        with pytest.raises(BdganError, match="nothing is labelled yet; label one"):
            proposer.fit(annotations)
    for ask in (lambda: proposer.propose(first.id), lambda: proposer.divergence([first.id])):
        with pytest.raises(BdganError, match="nothing has been learnt yet"):
            ask()
    with pytest.raises(BdganError, match="mask is"):
        proposer.fit([replace(first, mask=np.ones((8, 8), np.uint8))])
    with pytest.raises(BdganError, match="stranger is none of the 15"):
        proposer.fit([replace(first, id="stranger")])
    with pytest.raises(BdganError, match="expected one or more annotations"):
        Proposer(world[0], [])
