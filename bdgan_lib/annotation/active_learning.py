"""What to label next: the class with the fewest labels, and of it the sample the ensemble doubts most."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bdgan_lib.datasets.annotation_store import Annotation


def next_ids(
    candidates: Sequence[Annotation],
    labelled: Collection[str],
    divergence: Mapping[str, float],
    count: int,
    skipped: Collection[str] = (),
) -> list[str]:
    """Ids of the next `count` samples to label, or of as many as are left, most wanted first.

    Turn by turn the class with the fewest labels gives its sample of the largest divergence; among classes
    with equally many, the one whose sample has the largest. The order of `candidates` does not matter.

    Args:
        labelled: ids that have their label; they count for their class.
        divergence: id -> the ensemble's mean JS divergence in nats (`Proposer.divergence`); a sample without
            one comes last in its class.
        skipped: ids never to be asked for, which count for no class.
    """
    labels = Counter({a.class_id: 0 for a in candidates})
    labels.update(a.class_id for a in candidates if a.id in labelled)
    done = {*labelled, *skipped}
    waiting: dict[int, list[tuple[float, str]]] = {}  # class -> its samples, the most wanted last
    for a in candidates:
        if a.id not in done:
            waiting.setdefault(a.class_id, []).append((divergence.get(a.id, -1.0), a.id))
    for own in waiting.values():
        own.sort()
    found: list[str] = []
    while waiting and len(found) < count:
        turn = max(waiting, key=lambda c: (-labels[c], waiting[c][-1]))
        found.append(waiting[turn].pop()[1])
        labels[turn] += 1
        if not waiting[turn]:
            del waiting[turn]
    return found


def random_order(candidates: Sequence[Annotation], seed: int) -> list[str]:
    """All ids in a uniformly random order that knows nothing of classes: what the queue is compared with."""
    ids = sorted(a.id for a in candidates)
    return [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]


def balanced_random_order(candidates: Sequence[Annotation], seed: int) -> list[str]:
    """All ids, balanced over the classes as the queue's are and else at random: what balance alone gives."""
    order = random_order(candidates, seed)
    return next_ids(candidates, (), {id: float(rank) for rank, id in enumerate(order)}, len(order))
