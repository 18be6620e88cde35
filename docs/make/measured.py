"""Tables of measured numbers, from the JSON that ships: assets/pocket/experiments and benchmarks/results."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bdgan_lib.experiments.claims import WORLDS, check_claims
from bdgan_lib.experiments.frozen_features import SAMPLES, SCENES, best_rates, lead
from bdgan_lib.experiments.runner import averaged, scores, with_factors
from bdgan_lib.metrics.statistics import difference, spread
from bdgan_lib.paper import tables
from bdgan_lib.visualization.tables import markdown

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = {
    "frechet_over_real": "Fréchet distance to held-out photographs: samples over training photographs",
    "class_accuracy": "samples that a classifier of the training photographs takes for their class",
    "real_accuracy": "the same of held-out photographs",
    "reconstruction_psnr": "held-out photographs from their codes, dB",
    "nearest_ratio": "distance to the nearest training photograph: samples over held-out photographs",
    "head_fgbg_miou": "label head from 40 labels, on new samples, against a segmenter of all masks, FG/BG",
    "real_fgbg_miou": "the same head on held-out photographs, exact masks, FG/BG",
    "real_fgbg_miou_of_real_labels": "a head from 40 photographs with exact masks, there",
    "labelled_miou": "network trained on the 40 labelled samples, held-out photographs, eight classes",
    "synthetic_miou": "network trained on the data set, there",
    "exact_miou": "network trained on 2,624 photographs with exact masks, there",
    "worth_gain": "what the data set adds to its labels",
    "worth_gain_low": "lower end of its 95% interval, five seeds",
    "biggan_frechet_over_real": "BigGAN-deep, 3,000 steps on one core: Fréchet distances as above",
    "biggan_class_accuracy": "its samples that the classifier takes for their class",
    "biggan_real_accuracy": "held-out photographs, the same classifier",
    "biggan_nearest_ratio": "nearest training photograph: its samples over held-out photographs",
    "biggan_training_nearest_ratio": "the same of training photographs, each to the nearest other one",
    "biggan_head_fgbg_miou": "label head from 40 of its samples, on new ones, against that segmenter, FG/BG",
    "inversion_psnr": "40 held-out photographs by the nearest samples that gradient descent finds, median dB",
    "inversion_fgbg_miou": "the head's masks of these samples against the photographs' exact masks, FG/BG",
}
CHECKED = ("table2", "set-size", "online", "backbone", "filter", "transfer")  # claims are held against these
Result = Mapping[str, Any]
Rows = list[dict[str, Any]]

TUTORIAL = {  # metric of a notebook -> what it is
    "tutorial.seconds": "all notebooks on two cores, seconds",
    "pocket.frechet": "Fréchet distance to rendered images / trace of their covariance",
    "pocket.frechet_real_real": "the same between two sets of rendered images: the floor",
    "pocket.shape_diversity": "mean 1 − IoU of two silhouettes of a class, generated / rendered",
    "pocket.sample_class_accuracy": "samples that a classifier takes for their class",
    "probe.best_block_miou": "FG/BG mIoU of the best linear probe on one block",
    "probe.best_unit_iou": "IoU of the best single unit with a part",
    "probe.correspondence": "nearest features that lie on the same part",
    "probe.ablation_lost": "share of a part that goes with sixteen units that fire on it",
    "probe.ablation_lost_random": "the same with sixteen units at random",
    "annotation.agreement_iou": "IoU of the recorded session's masks with the oracle's",
    "oracle.fgbg_miou": "FG/BG mIoU of the oracle on rendered scenes",
    "oracle.agreement_miou": "mIoU of the oracle with itself on the mirrored image",
    "head.fgbg_miou": "FG/BG mIoU of the label head against the oracle, 5 labels per class",
    "head.ensemble_miou": "the same of an ensemble of 16",
    "head.js_rank_correlation": "rank correlation of an image's divergence with its error",
    "head.drop10_gain_miou": "mIoU gained by dropping the tenth with the highest ensemble disagreement",
    "vqgan.reconstruction_psnr": "reconstruction of unseen scenes, dB",
    "vqgan.codebook_usage": "share of the codebook that these use",
    "vqgan.head_fgbg_miou": "FG/BG mIoU of the VQGAN's head on its samples, against the oracle",
    "vqgan.sample_class_accuracy": "VQGAN's samples that a classifier takes for their class",
    "vqgan.real_image_miou": "FG/BG mIoU of that head on rendered images, exact masks",
    "synthesis.images": "images in notebook 05's data set",
    "synthesis.foreground_share": "mean share of foreground in its masks",
    "synthesis.kept_share": "samples that the paper's two filters keep",
    "worth.annotated_miou": "MC-all mIoU of a network taught on the 60 annotated samples",
    "worth.sim_miou": "the same on BigGAN-sim",
    "worth.vqgan_sim_miou": "the same on VQGAN-sim",
    "worth.gain_miou": "BigGAN-sim less its 60 annotated samples",
    "figures.label_chamfer_diversity": "Chamfer diversity of the head's masks / of exact ones",
    "figures.label_shape_diversity": "shape diversity of the head's masks / of exact ones",
}
SPEED = {  # benchmark -> its figure -> what it is
    "start": {
        "help_cpu_seconds": "`bdgan --help`: CPU seconds of the process",
        "validate_cpu_seconds": "`bdgan validate` of one image: CPU seconds",
        "python_cpu_seconds": "Python alone: CPU seconds",
    },
    "generators": {
        "speedup_float32": "BigGAN-deep-256, batch 8: times as fast as the released package",
        "speedup_bf16": "the same in bfloat16",
        "max_difference_float32": "largest difference of an image in [-1, 1]",
        "memory_ratio_512": "peak memory at 512 / the released package's",
    },
    "label_head": {
        "label_overhead": "BigGAN-512: image + label / image alone",
        "label_overhead_ensemble16": "the same with an ensemble of 16",
        "label_overhead_published": "the same with the published head",
        "train_step_speedup": "training step: times as fast as the published head's",
        "train_step_memory_ratio": "its memory / the published head's",
    },
    "vqgan": {
        "speedup_float32": "12 layers × 768, batch 8: codes per second / the published way of sampling",
        "speedup_bf16": "the same in bfloat16",
        "online_over_offline": "training step of the pocket's U-Net: live / stored samples",
        "online_over_offline_deeplab": "the same of DeepLabv3 with ResNet-50",
    },
    "synthesis": {
        "labelled_images_per_second": "pocket, one core, 16 heads, both filters: labelled images per second",
        "labelled_over_unlabelled": "the same / the generator alone",
        "labelled_over_unlabelled_bf16": "the same with labels in bfloat16",
        "two_workers_speedup": "two processes: times as fast as one, their start included",
        "memory_growth": "peak memory of 50,000 images / of 1,000",
        "peak_mb": "peak memory, MB",
        "writers_speedup": "PNG of 256 × 256: images per second of two writers / of one",
        "commit_seconds_per_million": "from the last shard to the finished set, seconds per million images",
    },
    "scale": {
        "images_per_second": "two processes write a million images of 64 × 64: images per second",
        "cost_growth": "milliseconds per image at a million images / at 10,000",
        "memory_growth": "the driver's peak memory at a million images / at 10,000",
    },
    "delivery": {
        "onnx_max_difference": "pocket as ONNX, fp32: largest difference from torch of any output",
        "onnx_fp16_other_labels": "the same with 16-bit weights: share of the pixels with another label",
        "onnx_mb": "its file, MB",
        "page_first_image_s": "the page that runs it, headless Chromium: seconds to the first picture",
        "page_drag_ms": "a move of its pad until the picture is drawn, p95, ms",
        "recipes_trained": "recipes that trained here as written, with a falling loss",
        "hub_round_trip_equal": "a set, a head and a model to a stand-in of the Hub and back: equal",
    },
    "annotation": {
        "stroke_ms_512": "stroke of 512 × 512 until it is on the disk, p95, ms",
        "click_preview_ms_512": "click to preview at 512 × 512, p95, ms",
    },
}


def experiment(name: str) -> Result | None:
    """The shipped result of `bdgan experiment NAME`; None where none ships."""
    path = ROOT / "assets/pocket/experiments" / f"{name}.json"
    return with_factors(json.loads(path.read_text("utf-8"))) if path.exists() else None


def benchmark(name: str) -> Result:
    """The shipped result of `python -m benchmarks.NAME`."""
    return json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text("utf-8"))


def table(name: str) -> str:
    """A table by its name, and a line that says where its numbers come from."""
    if name in OTHERS:
        rows, source = OTHERS[name]()
    elif result := experiment(name):
        rows = EXPERIMENTS.get(name, _by_task)(result)
        source = (
            f"`bdgan experiment {name.removesuffix('-rates')}`, profile {result['profile']}, generator "
            f"{result['generator_sha256'][:12]}, commit {result['commit']}, "
            f"{result['seconds'] / 60:.0f} minutes"
        )
    else:
        return f"*Not shipped yet: `bdgan experiment {name}` measures it.*"
    return f"{markdown(rows)}\n\n*Measured here: {source}.*"


def _tutorial() -> tuple[Rows, str]:
    result = benchmark("tutorial")
    rows = [
        {"metric": f"`{name}`", "value": _number(value), "what it is": TUTORIAL.get(name, "")}
        for name, value in result["metrics"].items()
    ]
    return rows, _tutorial_source(result)


def _photographs() -> tuple[Rows, str]:
    result = benchmark("photographs")
    rows = [
        {"figure": f"`{name}`", "value": _number(value), "what it is": PHOTOGRAPHS[name]}
        for name, value in result.items()
    ]
    return rows, "`python -m benchmarks.photographs`, two cores"


def _times() -> tuple[Rows, str]:
    result = benchmark("tutorial")
    rows = [{"notebook": n["name"], "seconds": f"{n['seconds']:.0f}"} for n in result["notebooks"]]
    return rows, _tutorial_source(result)


def _tutorial_source(result: Result) -> str:
    return f"`bash ci/tutorial.sh`, profile {result['profile']}, commit {result['commit'][:7]}, two cores"


def _speed() -> tuple[Rows, str]:
    results = {name: benchmark(name) for name in SPEED}
    row = lambda name, key: {"what it is": SPEED[name][key], "value": _shown(results[name][key])}
    rows = [{"measured by": f"`benchmarks.{name}`"} | row(name, key) for name in SPEED for key in SPEED[name]]
    machines = sorted({result["machine"] for result in results.values()})
    return rows, f"`python -m benchmarks.NAME`, on {'; '.join(machines)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else _number(value)


def _scale() -> tuple[Rows, str]:
    """Times of data sets of a profile with sixteen heads: start, drawing and labelling, commit."""
    gpu, scale, synthesis = (benchmark(name) for name in ("gpu", "scale", "synthesis"))
    profile = gpu["imagenet-256"]
    labelled = profile["images_per_second"] / profile["label_overhead_ensemble16"]
    fixed, commit = scale["ray"]["first_shard_seconds"], synthesis["commit_seconds_per_million"] / 1e6
    seconds = lambda images, gpus: fixed + images / (labelled * gpus) + images * commit
    rows = [
        {"drawn": f"{images:,}", "shards": f"{images // 500:,}"}
        | {f"{gpus} GPU{'s' * (gpus > 1)}": _duration(seconds(images, gpus)) for gpus in (1, 8, 64)}
        for images in (100_000, 1_000_000, 10_000_000)
    ]
    written = synthesis["one_writer_images_per_second"]
    source = (
        f"{labelled:.0f} images and labels a second on one {gpu['gpu']} (`benchmarks.gpu`, `imagenet-256`, "
        f"sixteen heads), which {np.ceil(labelled / written):.0f} writers keep up with ({written:.0f} PNGs a "
        f"second each, `benchmarks.synthesis`), {fixed:.0f} s to the first shard on Ray (`benchmarks.scale`) "
        f"and {1e6 * commit:.1f} s for the commit of a million (`benchmarks.synthesis`)"
    )
    return rows, source


def _duration(seconds: float) -> str:
    """In the largest unit of which there are two or more."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def _growth() -> tuple[Rows, str]:
    """What a data set costs as it grows, on this machine."""
    result = benchmark("scale")
    rows = [
        {
            "images": f"{int(images):,}",
            "seconds": _number(row["seconds"]),
            "ms per image after the first shards": f"{row['ms_per_image']:.3f}",
            "last shard to finished set, s": f"{row['commit_seconds']:.2f}",
            "manifest, MB": f"{row['manifest_mb']:.2f}",
            "driver, MB": f"{row['driver_mb']:.0f}",
            "worker, MB": f"{row['worker_mb']:.0f}",
        }
        for images, row in result["here"].items()
    ]
    return rows, f"`python -m benchmarks.scale`, on {result['machine']}"


def _claims() -> tuple[Rows, str]:
    results = {name: result for name in CHECKED if (result := experiment(name))}
    return check_claims(results), f"`bdgan experiment {'`, `'.join(results)}`, profile pocket"


def _by_task(result: Result) -> Rows:
    """A row for each setting, a column for each task, and their mean; ± one standard deviation over seeds."""
    runs = scores(result)
    tasks = list(dict.fromkeys(varied[-1] for varied in runs))
    return [
        {"": " / ".join(setting)}
        | {task: spread(runs[(*setting, task)]) for task in tasks}
        | {"mean": spread(mean)}
        for setting, mean in averaged(runs).items()
    ]


def _budget(result: Result) -> Rows:
    runs = scores(result)
    return [
        {
            "task": task,
            "steps": f"{steps:,}",
            "mIoU on validation scenes": spread(runs[steps, name, task]),
            "twice the steps add": difference(runs[2 * steps, name, task], runs[steps, name, task])
            if (2 * steps, name, task) in runs
            else "",
        }
        for steps, name, task in runs
    ]


def _label_head(result: Result) -> Rows:
    return [
        {
            "head": name,
            "FG/BG mIoU": spread(np.array([run["fgbg_miou"] for run in runs])),
            "training, s": f"{np.median([run['train_seconds'] for run in runs]):.0f}",
            "memory of a step, MB": f"{runs[0]['step_mb']:.0f}",
            "GFLOP per image": f"{runs[0]['gflop']:.2f}",
        }
        for name, runs in _grouped(result, "trial").items()
    ]


def _frozen_features(result: Result) -> Rows:
    runs, less = scores(result), lead(result)
    names = list(dict.fromkeys(name for name, _, _ in runs))
    column = lambda *key: spread(runs[key]) if key in runs else ""
    return [
        {
            "features": name,
            "samples, FG/BG": column(name, SAMPLES, "FG/BG"),
            "generator less this": less.get(name, ""),
            "scenes, FG/BG": column(name, SCENES, "FG/BG"),
            "scenes, MC-all": column(name, SCENES, "MC-all"),
        }
        for name in names
    ]


def _rates(result: Result) -> Rows:
    runs = scores(result)
    return [
        {"features": name}
        | {f"peak {rate}": f"{x.mean():.3f}" for (other, rate), x in runs.items() if other == name}
        | {"chosen": rate}
        for name, rate in best_rates(result).items()
    ]


def _clicks(result: Result) -> Rows:
    columns = {"clicks, mean": "mean_clicks", "clicks, median": "median_clicks"}
    columns |= {"share that get there": "reached"}
    return [
        {"tool": tool}
        | {title: f"{np.mean([run[key] for run in runs]):.3g}" for title, key in columns.items()}
        for tool, runs in _grouped(result, "tool").items()
    ]


def _queue(result: Result) -> Rows:
    counts = next(iter(result["cells"].values()))["labels"]
    return [
        {"labels": target, "order": order}
        | {f"mIoU at {count}": spread(curves[:, k]) for k, count in enumerate(counts)}
        for (target, order), curves in scores(result).items()
    ]


def _pretraining(result: Result) -> Rows:
    return [
        {
            "initialisation": cell["method"] + (" + branch" if cell["branch"] else ""),
            "k-NN accuracy": f"{cell['knn']:.3f}",
            "linear accuracy": f"{cell['linear']:.3f}",
            "rank of the features": f"{cell['rank']:.1f}",
        }
        for cell in result["cells"].values()
    ]


def _statistics(result: Result) -> Rows:
    return [{k: str(v).replace("\n", " ") for k, v in row.items()} for row in tables.statistics(result)]


def _grouped(result: Result, key: str) -> dict[str, list[Result]]:
    """The cells of an experiment by one of their settings."""
    groups: dict[str, list[Result]] = {}
    for cell in result["cells"].values():
        groups.setdefault(cell[key], []).append(cell)
    return groups


def _number(value: float) -> str:
    """Four digits, but of large ones no fractions."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


_others = (_tutorial, _times, _speed, _scale, _photographs, _growth, _claims)
OTHERS: dict[str, Callable[[], tuple[Rows, str]]] = {f.__name__.strip("_"): f for f in _others}
EXPERIMENTS: dict[str, Callable[[Result], Rows]] = {
    "budget": _budget,
    "label-head": _label_head,
    "frozen-features": _frozen_features,
    "frozen-features-rates": _rates,
    "annotation-clicks": _clicks,
    "label-queue": _queue,
    "pretraining": _pretraining,
    "transfer": lambda result: tables.transfer(result, list(WORLDS)),
    "analysis": _statistics,
}
