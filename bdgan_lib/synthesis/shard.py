"""Shards: sample, label, filter, write. Their bytes depend on the specification and their number alone."""

import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch

from bdgan_lib import __version__
from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.io import as_path, write_atomic
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.core.precision import one_thread, require_fast_bf16
from bdgan_lib.core.types import BdganError, Json
from bdgan_lib.datasets.card import ShardStatistics
from bdgan_lib.datasets.shards import DROPPED, Labelled, write_manifest
from bdgan_lib.synthesis.filters import REASONS, Models, ScoredBatch, drop_reasons, score_batch
from bdgan_lib.synthesis.folder import FinishedShard, record_path, shard_name
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec
from bdgan_lib.synthesis.writers import Writers, queue_bytes

Advance = Callable[[int, int], object]  # called after each batch with the numbers of samples drawn and kept


def make_shard(
    spec: SynthesisSpec,
    k: int,
    models: Models,
    folder: str | os.PathLike[str],
    advance: Advance = lambda drawn, kept: None,
    writers: int = 1,
) -> FinishedShard:
    """Write shard k of a data set and its record; see `make_shards`."""
    (finished,) = make_shards(spec, [k], models, folder, advance, writers)
    return finished


def make_shards(
    spec: SynthesisSpec,
    shards: Iterable[int],
    models: Models,
    folder: str | os.PathLike[str],
    advance: Advance = lambda drawn, kept: None,
    writers: int = 1,
) -> Generator[FinishedShard, None, None]:
    """Write shards of a data set, each with its record beside it, and yield them as they are finished.

    Any worker, in any order, with any number of writers, writes the same bytes. Dropped samples are listed
    with the reason in `<shard>.dropped.jsonl`; without filters there is no such file. Memory: one batch with
    its features, and the samples that wait for a writer (see `queue_bytes`).

    Args:
        spec: specification of the data set.
        shards: their numbers k, 0 <= k < spec.num_shards.
        models: the models of the specification.
        folder: where the shards are written; it exists.
        advance: called after each batch, for a progress bar.
        writers: threads that encode and write beside this one.

    Raises:
        BdganError: the models are not the specification's, a class is unknown, the head returns masks of the
            wrong kind, or bfloat16 is asked for where it is slow.
        OSError: the disk is full, for example.
    """
    check_models(spec, models)
    about = about_set(spec, models)
    with one_thread(), Writers[FinishedShard](writers, queue_bytes(writers)) as pool:
        for k in shards:
            if not 0 <= k < spec.num_shards:
                raise BdganError(
                    f"expected a shard from 0..{spec.num_shards - 1} of this data set, got shard {k}"
                )
            path, dropped, statistics = as_path(folder) / shard_name(k), list[Json](), ShardStatistics()
            shard = pool.new_shard(
                path, spec.jpeg, partial(_finished, spec, path, dropped, statistics, about)
            )
            for sample, provenance in _kept_samples(spec, k, models, dropped, advance):
                statistics.add(sample.mask, provenance)
                shard.add(sample, provenance)
                yield from pool.results(wait=False)
            shard.close()
        yield from pool.results(wait=True)


def about_set(spec: SynthesisSpec, models: Models) -> Json:
    """What the manifest and each record say of the set."""
    return {
        "spec": spec.to_json(),
        "spec_sha256": spec.hash(),
        "classes": list(models.generator.classes),
        "labels": list(models.head.labels),
        "image_size": models.generator.image_size,
    }


def _finished(
    spec: SynthesisSpec,
    path: Path,
    dropped: list[Json],
    statistics: ShardStatistics,
    about: Json,
    entry: Json,
) -> FinishedShard:
    """Write the list of dropped samples and the record of a shard whose file was written."""
    if spec.filters != Filters():
        lines = "".join(json.dumps(sample, sort_keys=True) + "\n" for sample in dropped).encode()
        write_atomic(path.with_suffix(DROPPED), lines)
        reasons = Counter(sample["dropped"] for sample in dropped)
        counts: Json = {reason: reasons[reason] for reason in REASONS if reasons[reason]}
        entry = {**entry, "dropped": counts, "dropped_sha256": sha256(lines).hexdigest()}
    finished = FinishedShard(entry, statistics.to_json())
    write_manifest(record_path(path), [entry], {**about, "statistics": finished.statistics})
    return finished


def check_models(spec: SynthesisSpec, models: Models) -> None:
    """Check that these are the models of the specification, and that they know its classes.

    Raises:
        BdganError: another model, an unknown class, or bfloat16 on a device that is slow with it.
    """
    asked = spec.filters.min_confidence is not None
    scorer_sha256 = models.scorer.sha256 if models.scorer and asked else ""
    for what, actual, expected in (
        ("generator", models.generator.sha256, spec.generator_sha256),
        ("head", models.head.sha256, spec.head_sha256),
        ("class scorer", scorer_sha256, spec.scorer_sha256 if asked else ""),
    ):
        if actual != expected:
            raise BdganError(
                f"the {what} is not the specification's: expected sha256 {expected or 'none'}, "
                f"got {actual or 'none'}; pass the expected one"
            )
    if spec.bf16:
        require_fast_bf16(spec.device)
    if max(spec.class_ids) >= len(models.generator.classes):
        raise BdganError(
            f"class id {max(spec.class_ids)} is unknown to {models.generator.name}; "
            f"it has 0..{len(models.generator.classes) - 1}"
        )


def _kept_samples(
    spec: SynthesisSpec, k: int, models: Models, dropped: list[Json], advance: Advance
) -> Iterator[Labelled]:
    """Yield the samples of shard k that pass the filters, with provenance; append the others to `dropped`."""
    shared: Json = {
        "sampling": spec.sampling.to_json(),
        "batch_size": spec.batch_size,
        "generator_sha256": spec.generator_sha256,
        "head_sha256": spec.head_sha256,
        "device": spec.device,
        "bf16": spec.bf16,
        "bdgan_lib": __version__,
    }
    for numbers, batch in scored_batches(spec, k, models):
        reasons, kept = drop_reasons(batch, spec.filters), 0
        for i, n in enumerate(numbers):
            if n not in spec.numbers(k):
                continue
            class_id, seed = spec.class_ids[n % len(spec.class_ids)], spec.first_seed + n
            class_name = models.generator.classes[class_id]
            id = sample_id(class_name, seed)
            record: Json = {
                "id": id,
                "class_id": class_id,
                "class_name": class_name,
                "seed": seed,
                "divergence": round(float(batch.divergence[i]), 6),
            }
            if batch.confidence is not None:
                record["confidence"] = round(float(batch.confidence[i]), 6)
            if reasons[i]:
                dropped.append({**record, "dropped": reasons[i]})
            else:
                kept += 1
                sample = LabelledSample(batch.images[i], batch.masks[i], class_id, seed, id)
                yield sample, {**record, **shared}
        advance(sum(n in spec.numbers(k) for n in numbers), kept)


def scored_batches(spec: SynthesisSpec, k: int, models: Models) -> Iterator[tuple[range, ScoredBatch]]:
    """Yield the batches that shard k needs: the numbers of their samples, and the samples before filtering.

    Batches are whole, even where one reaches over an end of the shard.
    """
    shard = spec.numbers(k)
    for first in range(shard.start // spec.batch_size * spec.batch_size, shard.stop, spec.batch_size):
        numbers = range(first, first + spec.batch_size)
        class_ids = torch.tensor([spec.class_ids[n % len(spec.class_ids)] for n in numbers])
        seeds = torch.tensor([spec.first_seed + n for n in numbers])
        yield numbers, score_batch(models, class_ids, seeds, spec.sampling, spec.bf16)
