"""A head learns from pictures and masks that someone has: paired by name, cropped alike, refused by name."""

from dataclasses import replace
from unicodedata import normalize

import numpy as np
import pytest
import torch
from PIL import Image

from bdgan_lib.annotation.photograph_folder import photographs
from bdgan_lib.cli import main
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.seeds import POCKET
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.generators.inversion import InversionConfig, invert
from bdgan_lib.generators.picture_source import FIRST_PICTURE
from bdgan_lib.heads.files import RECORD
from bdgan_lib.heads.settings import HeadTraining
from bdgan_lib.heads.training import train_head
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.metrics.segmentation import mean_iou
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.labelled_pictures import LabelledPictures, labelled_pictures, read_labelled_pictures
from bdgan_lib.synthesis.label_real import label_images
from bdgan_lib.worlds.pocket import CLASSES, render_set

FIRST = POCKET["notebook 04"].first


@pytest.fixture(scope="module")
def world():
    return load_profile("pocket-vqgan")


@pytest.fixture
def folders(tmp_path):
    """Thirty-six rendered scenes as pictures of 96 x 80, written by Pillow, with masks of 0 and 1."""
    scenes = render_set(36, FIRST, 64)
    for n, (image, mask, k) in enumerate(zip(scenes.images, scenes.masks, scenes.class_ids, strict=True)):
        for kind, array, how in (
            ("images", image, Image.Resampling.BICUBIC),
            ("masks", mask > 0, Image.Resampling.NEAREST),
        ):
            place = tmp_path / kind / CLASSES[k]
            place.mkdir(parents=True, exist_ok=True)
            wide = np.pad(array.astype(np.uint8), ((0, 0), (16, 16), *[(0, 0)] * (array.ndim - 2)), "edge")
            Image.fromarray(wide).resize((192, 128), how).save(place / f"{n:02d}.png")
    return tmp_path / "images", tmp_path / "masks"


def test_pictures_are_the_samples_of_their_seeds_with_their_masks(folders, world):
    scenes = render_set(36, FIRST, 64)
    generator, annotations = labelled_pictures(read_labelled_pictures(*folders, world), world)
    assert len(annotations) == 36 and generator.sha256 == annotations[0].generator_sha256
    assert [a.seed for a in annotations] == list(range(FIRST_PICTURE, FIRST_PICTURE + 36))
    (batch,) = samples_of(generator, annotations[:4])
    for image, a in zip(batch.images, annotations[:4], strict=True):
        n = int(a.extra["picture"].split("/")[1])
        assert a.class_name == CLASSES[scenes.class_ids[n]]
        assert np.mean(a.mask == (scenes.masks[n] > 0)) > 0.995, "the centre square, at the generator's side"
        remade = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).clip(0, 255)
        assert np.abs(remade - scenes.images[n]).mean() < 6
    assert set(batch.features) == set(world.generator().blocks), "as the encoder sees them"


def test_a_head_of_pictures_labels_other_pictures(folders, world):
    generator, annotations = labelled_pictures(read_labelled_pictures(*folders, world), world)
    head, _ = train_head(generator, annotations, HeadTraining(steps=120), progress=None)
    others = render_set(48, FIRST + 1_000, 64)
    masks, _ = label_images(world.generator(), head, others.images, others.class_ids)
    exact = (others.masks > 0).astype(np.uint8)
    assert mean_iou(masks, exact, 2) > 0.75


def test_labelled_samples_join_and_keep_their_images(folders, world):
    generator, annotations = labelled_pictures(
        read_labelled_pictures(*folders, world), world, with_samples=True
    )
    shipped = list(world.annotations())
    assert len(annotations) == 36 + len(shipped) and len({a.id for a in annotations}) == len(annotations)
    sample = generator.sample(
        torch.tensor([shipped[0].class_id]), torch.tensor([shipped[0].seed]), shipped[0].sampling
    )
    origin = world.source.generator().sample(sample.class_ids, sample.seeds, shipped[0].sampling)
    assert torch.allclose(sample.images, origin.images.clamp(-1, 1), atol=1e-5)
    mixed = generator.sample(torch.tensor([0, 0]), torch.tensor([shipped[0].seed, FIRST_PICTURE]))
    assert len(mixed.images) == 2
    alone, _ = labelled_pictures(read_labelled_pictures(*folders, world), world)
    with pytest.raises(BdganError, match="expected seeds"):
        alone.sample(torch.tensor([0]), torch.tensor([3]))
    with pytest.raises(BdganError, match="expected seeds"):
        generator.sample(torch.tensor([0]), torch.tensor([FIRST_PICTURE + 36]))


def test_what_does_not_pair_or_fit_is_named(folders, world, tmp_path):
    images, masks = folders
    one = next(iter(sorted(masks.rglob("*.png"))))
    name = one.relative_to(masks).with_suffix("").as_posix()
    data = one.read_bytes()
    one.unlink()
    with pytest.raises(BdganError, match=f"has no mask in .*expected one named {name}"):
        read_labelled_pictures(images, masks, world)
    one.write_bytes(data)
    (images / name).with_suffix(".png").rename(tmp_path / "away.png")
    with pytest.raises(BdganError, match=f"has no picture in .*expected one named {name}"):
        read_labelled_pictures(images, masks, world)
    (tmp_path / "away.png").rename((images / name).with_suffix(".png"))
    Image.open(one).resize((64, 64)).save(one)
    with pytest.raises(BdganError, match="different sizes, 192 x 128 and 64 x 64"):
        read_labelled_pictures(images, masks, world)
    one.write_bytes(data)
    Image.open(one).convert("RGB").save(images / f"{name}.jpg")
    with pytest.raises(BdganError, match="have one name"):
        read_labelled_pictures(images, masks, world)
    (images / f"{name}.jpg").unlink()
    for folder in (images, masks):
        (folder / CLASSES[0]).rename(folder / "dragon")
    with pytest.raises(BdganError, match="no class 'dragon'"):
        read_labelled_pictures(images, masks, world)
    with pytest.raises(BdganError, match="holds no pictures"):
        read_labelled_pictures(tmp_path / "none", masks, world)


def test_masks_of_0_and_255_are_not_read_as_unlabelled_silently(folders, world):
    images, masks = folders
    expected = read_labelled_pictures(images, masks, world).masks
    for path in masks.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)  # as most tools write a binary mask
    with pytest.raises(BdganError, match="say --foreground 255"):
        read_labelled_pictures(images, masks, world)
    assert np.array_equal(read_labelled_pictures(images, masks, world, foreground=255).masks, expected)


def test_what_the_annotator_stored_of_pictures_is_as_their_masks(folders, world, tmp_path):
    images, masks = folders
    expected, store = read_labelled_pictures(images, masks, world), AnnotationStore(tmp_path / "labels")
    items, source = photographs(images, ["object"], store=store)
    assert len(items) == len(expected.names)
    some = [item for n, item in enumerate(items) if n % 3]
    for item in some:
        mask = np.asarray(Image.open((masks / item.extra["picture"]).with_suffix(".png")))
        store.add(replace(item, mask=mask, annotator="me"))
    found = read_labelled_pictures(images, store.root, world)
    place = [expected.names.index(name) for name in found.names]
    assert len(found.names) == len(some)
    assert np.array_equal(found.masks, expected.masks[place])
    assert np.array_equal(found.images, expected.images[place])
    assert np.array_equal(found.class_ids, expected.class_ids[place])
    picture = source.folder / some[0].extra["picture"]
    picture.write_bytes(picture.read_bytes() + b" ")
    with pytest.raises(BdganError, match=rf"is of .*{picture.name}, which is not in .* or was changed"):
        read_labelled_pictures(images, store.root, world)
    with pytest.raises(BdganError, match=r"is of a generator's sample; expected labels of pictures"):
        read_labelled_pictures(images, world.source.annotations().root, world)


def test_one_mask_of_0_and_255_or_with_soft_edges_is_told(folders, world):
    images, masks = folders
    path = sorted(masks.rglob("*.png"))[3]
    hard = np.asarray(Image.open(path))
    soft = np.asarray(Image.fromarray(hard * 255).resize(hard.shape[::-1], box=(3, 3, 100, 80)))
    for mask, says in ((hard * 255, "0 and 255 alone"), (soft, "many values up to 255")):
        Image.fromarray(mask).save(path)
        with pytest.raises(BdganError, match=rf"{path.name} holds {says}.*say --foreground 255"):
            read_labelled_pictures(images, masks, world)
    unlabelled = np.where(np.arange(hard.shape[1]) < 40, np.uint8(255), hard)
    Image.fromarray(unlabelled).save(path)
    assert {*np.unique(read_labelled_pictures(images, masks, world).masks)} == {0, 1, 255}


def test_a_value_that_no_mask_has_is_told_with_those_there_are(folders, world):
    images, masks = folders
    with pytest.raises(BdganError, match=r"pixel of foreground \(7\); the values are 0, 1"):
        read_labelled_pictures(images, masks, world, foreground=7)
    for path in masks.rglob("*.png"):
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    with pytest.raises(BdganError, match=r"pixel of foreground \(above 0\); the values are 0"):
        read_labelled_pictures(images, masks, world)


def test_pictures_and_masks_pair_however_their_letters_are_composed(folders, world):
    images, masks = folders
    expected = read_labelled_pictures(images, masks, world)
    label = expected.names[0].split("/")[0]
    for folder, form in ((images, "NFC"), (masks, "NFD")):
        for path in sorted((folder / label).iterdir()):
            path.rename(path.with_name(normalize(form, f"ä{path.name}")))
    (masks / label).rename(masks / f"{label} ")
    found = read_labelled_pictures(images, masks, world)
    assert np.array_equal(found.masks, expected.masks) and found.names[0].startswith(f"{label}/ä")


@pytest.mark.slow
def test_a_biggan_learns_from_the_samples_nearest_to_the_pictures(folders):
    world, said = load_profile("pocket"), []
    pictures = read_labelled_pictures(*folders, world)
    few = LabelledPictures(
        pictures.images[:3].copy(), pictures.masks[:3], pictures.class_ids[:3], pictures.names[:3]
    )
    few.images[2] = np.random.default_rng(0).integers(0, 256, few.images[2].shape)  # no sample looks so
    generator, annotations = labelled_pictures(few, world, say=said.append)
    assert [a.extra["picture"] for a in annotations] == [*few.names[:2]] and min(
        a.extra["psnr"] for a in annotations
    ) > 18
    assert said[2].startswith(f"{few.names[2]}: ") and said[2].endswith("below 18.0: left out")
    (batch,) = samples_of(generator, annotations)
    for image, a, picture in zip(batch.images, annotations, few.images, strict=False):
        error = np.square((image.permute(1, 2, 0).numpy() + 1) * 127.5 - picture).mean()
        assert 10 * np.log10(255**2 / error) == pytest.approx(a.extra["psnr"], abs=0.2), (
            "the latent is what counts"
        )
    train_head(generator, annotations, HeadTraining(steps=2), progress=None)


def test_an_inversion_finds_a_sample_again(world):
    generator = load_profile("pocket").generator()
    sample = generator.sample(torch.tensor([5]), torch.tensor([77_000]))
    result = invert(
        generator, to_uint8(sample.images), np.array([5]), config=InversionConfig(steps=60, starts=1)
    )
    unlike = generator.sample(torch.tensor([5]), torch.tensor([77_001]))
    error = np.square(to_uint8(unlike.images).astype(float) - to_uint8(sample.images)).mean()
    assert result.psnr[0] > 10 * np.log10(255**2 / error) + 6 and np.abs(result.latents).max() <= 2


def test_the_command_trains_on_pictures(folders, tmp_path, monkeypatch, capsys):
    images, masks = map(str, folders)
    command = [
        "bdgan",
        "train-head",
        "--profile",
        "pocket-vqgan",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "head"),
    ]
    for extra, code in ((["--images", images], 2), (["--images", images, "--masks", masks], 0)):
        monkeypatch.setattr("sys.argv", command + extra)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
    assert "--images and --masks go together" in capsys.readouterr().err
    assert (tmp_path / "head" / RECORD).exists()
