"""A model folder with sizes that do not fit or have no end is refused before any weights are read."""

import json

import pytest

from bdgan_lib.core.assets import assets_folder
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan_deep import load_biggan_deep
from bdgan_lib.generators.vqgan import load_vqgan
from bdgan_lib.profiles.own_model import own_profile

LOADERS = {"vqgan": load_vqgan, "biggan": load_biggan_deep}


def folder_of(tmp_path, kind, **changes):
    """A model folder without weights."""
    sizes = json.loads((assets_folder() / "pocket" / kind / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**sizes, **changes}), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *(
            ("vqgan", {key: 10**12})
            for key in ("resolution", "codes", "ch", "res_blocks", "layers", "heads", "width")
        ),
        *(("vqgan", {"res_blocks": value}) for value in (0, -1, True, 1.5, None, "x", [1] * 1000)),
        *(("vqgan", {"ch_mult": value}) for value in ([1] * 10**5, [10**12], [], 1, [[1]])),
        ("vqgan", {"resolution": 4096, "ch_mult": [1]}),
        *(("biggan", {key: 10**12}) for key in ("z_dim", "class_embed_dim", "channel_width", "num_classes")),
        *(("biggan", {"n_stats": value}) for value in (10**12, -1, True, None, "x")),
        *(
            ("biggan", {"layers": value})
            for value in ([[True, 1, 1]] * 10**5, [[True, 1]], [[1, 1, 1]], 7, None)
        ),
        ("biggan", {"layers": [[True, 10**12, 1]]}),
    ],
)
def test_sizes_without_end_are_refused(kind, changes, tmp_path):
    with pytest.raises(BdganError, match=r"config.json describes no (VQGAN|BigGAN-deep) \("):
        LOADERS[kind](folder_of(tmp_path, kind, **changes), ("a", "b"))


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("side", [-5, True, 32, 64])
def test_the_side_is_that_of_the_generator(kind, side, tmp_path):
    model = {"kind": kind, "classes": ["a", "b"], "side": side}
    (folder_of(tmp_path, kind) / "model.json").write_text(json.dumps(model), encoding="utf-8")
    if side == 64 and type(side) is int:
        assert own_profile(tmp_path).image_size == 64
        return
    with pytest.raises(
        BdganError, match=r"names no classes, side" if side is True else f"side 64 .*got {side}"
    ):
        own_profile(tmp_path)
