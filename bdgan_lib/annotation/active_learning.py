"""What to label next: of the class with the fewest labels, the sample with the highest disagreement."""

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
    """Ids of the next `count` samples to label, or of all that are left, most informative first.

    Each is the sample with the highest divergence of the class with the fewest labels; on a tie between
    classes, the one with the higher divergence. The order of `candidates` does not matter.

    Args:
        candidates: all samples, labelled or not.
        labelled: ids that have their label; they count for their class.
        divergence: id -> the ensemble's mean JS divergence in nats (`Proposer.divergence`); a sample without
            one comes last in its class.
        count: how many ids are returned at most.
        skipped: ids never to be asked for, which count for no class.
    """
    labels = Counter({a.class_id: 0 for a in candidates})
    labels.update(a.class_id for a in candidates if a.id in labelled)
    done = {*labelled, *skipped}
    waiting: dict[int, list[tuple[float, str]]] = {}  # class -> its samples, highest divergence last
    for a in candidates:
        if a.id not in done:
            waiting.setdefault(a.class_id, []).append((divergence.get(a.id, -1.0), a.id))
    for samples in waiting.values():
        samples.sort()
    ids: list[str] = []
    while waiting and len(ids) < count:
        class_id = max(waiting, key=lambda c: (-labels[c], waiting[c][-1]))
        ids.append(waiting[class_id].pop()[1])
        labels[class_id] += 1
        if not waiting[class_id]:
            del waiting[class_id]
    return ids


def random_order(candidates: Sequence[Annotation], seed: int) -> list[str]:
    """All ids in a uniformly random order, whatever their class: the baseline of the queue."""
    ids = sorted(a.id for a in candidates)
    return [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]


def balanced_random_order(candidates: Sequence[Annotation], seed: int) -> list[str]:
    """All ids in a random order, balanced over the classes as the queue is: what balance alone gives."""
    order = random_order(candidates, seed)
    return next_ids(candidates, (), {id: float(rank) for rank, id in enumerate(order)}, len(order))
