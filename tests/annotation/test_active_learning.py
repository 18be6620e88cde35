"""What is asked for next: balanced over the classes, the highest divergence first, nothing twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bdgan_lib.annotation.active_learning import balanced_random_order, next_ids, random_order
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation

BLANK = np.zeros((2, 2), np.uint8)


def candidate(class_id, seed):
    return Annotation(f"c{class_id}_{seed}", f"c{class_id}", class_id, seed, Sampling(), "f" * 64, BLANK, "-")


ITEMS = [candidate(c, s) for c in range(4) for s in range(5)]
IDS = [a.id for a in ITEMS]
CLASS = {a.id: a.class_id for a in ITEMS}


@st.composite
def states(draw):
    """Labelled ids, skipped ids, divergences, and how many are asked for."""
    shuffled = draw(st.permutations(IDS))
    a, b = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
    divergence = {id: draw(st.floats(0, 0.7)) for id in draw(st.permutations(IDS))}
    return shuffled[:a], shuffled[a:b], divergence, draw(st.integers(0, 25))


@given(states(), st.randoms(use_true_random=False))
def test_laws_of_the_queue(state, random):
    labelled, skipped, divergence, count = state
    found = next_ids(ITEMS, labelled, divergence, count, skipped)
    left = set(IDS) - {*labelled, *skipped}
    assert len(set(found)) == len(found) == min(count, len(left)) and set(found) <= left
    labels = [sum(CLASS[id] == c for id in labelled) for c in range(4)]
    for k, id in enumerate(found):
        waiting = left - set(found[:k])
        assert labels[CLASS[id]] == min(labels[CLASS[w]] for w in waiting), "the poorest class comes first"
        best = max(divergence[w] for w in waiting if CLASS[w] == CLASS[id])
        assert divergence[id] == best, "of it the highest divergence"
        labels[CLASS[id]] += 1
    mixed = random.sample(ITEMS, len(ITEMS))
    assert next_ids(mixed, labelled[::-1], dict(reversed(divergence.items())), count, skipped) == found
    count = max(0, count - 1)
    assert next_ids(ITEMS, labelled, divergence, count, skipped) == found[:count]


def test_the_queue_keeps_classes_within_one_and_asks_for_all():
    order = next_ids(ITEMS, (), {id: k % 7 / 10 for k, id in enumerate(IDS)}, 20)
    assert sorted(order) == sorted(IDS)
    for k in range(21):
        counts = np.bincount([CLASS[id] for id in order[:k]], minlength=4)
        assert np.ptp(counts) <= 1


def test_a_sample_without_divergence_comes_last_in_its_class():
    order = next_ids(ITEMS, (), {"c2_3": 0.0}, 20)
    assert order[0] == "c2_3"


def test_random_orders_hold_all_and_depend_on_the_seed_alone():
    for order_of in (random_order, balanced_random_order):
        order = order_of(ITEMS, 1)
        assert sorted(order) == sorted(IDS)
        assert order == order_of(ITEMS[::-1], 1) != order_of(ITEMS, 2)
    counts = [
        np.bincount([CLASS[id] for id in balanced_random_order(ITEMS, 3)[:k]], minlength=4) for k in range(21)
    ]
    assert max(map(np.ptp, counts)) <= 1
    first = [[CLASS[id] for id in random_order(ITEMS, seed)[:4]] for seed in range(20)]
    assert min(len(set(classes)) for classes in first) < 4, "it knows nothing of classes"
