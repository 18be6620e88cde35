"""Views are their images seen through a frame: nothing else changes when every strength is 0."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.downstream.pretraining.views import ViewConfig, back, draw_views, identity, through


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=6, side=32):
    return 2 * torch.rand(count, 3, side, side, generator=stream(7)) - 1


def test_without_strengths_a_view_is_its_image():
    views = draw_views(pictures(), identity(32), stream())
    torch.testing.assert_close(views.images, pictures(), atol=1e-5, rtol=0)
    torch.testing.assert_close(views.frames, torch.eye(3)[:2].expand(6, 2, 3))


def test_a_flip_alone_is_a_mirror():
    views = draw_views(pictures(), replace(identity(32), flip=1.0), stream())
    torch.testing.assert_close(views.images, pictures().flip(3), atol=1e-5, rtol=0)


def test_a_crop_shows_what_lies_under_its_frame():
    """On a ramp, a pixel's colour is its place: read at the frame's points, it must be those places."""
    y, x = torch.meshgrid(*(torch.arange(0.5, 64) / 32 - 1,) * 2, indexing="ij")
    ramp = torch.stack([x, y, 0 * x]).expand(8, 3, 64, 64)
    views = draw_views(ramp, replace(identity(16), smallest=0.2, stretch=4 / 3, flip=0.5), stream())
    t = torch.arange(0.5, 16) / 8 - 1
    points = torch.stack(torch.meshgrid(t, t, indexing="xy"), -1).view(1, -1, 2).expand(8, -1, 2)
    shown = views.images[:, :2].flatten(2).mT
    wanted = through(points, views.frames)
    torch.testing.assert_close(shown, wanted.clamp(-63 / 64, 63 / 64), atol=1e-5, rtol=0)
    torch.testing.assert_close(back(wanted, views.frames), points, atol=1e-5, rtol=0)
    assert wanted.abs().max() <= 1 + 1e-6, "no crop leaves the image"


def test_crops_have_the_areas_and_ratios_they_may():
    many, config = pictures(1).expand(500, 3, 32, 32), replace(ViewConfig(), side=8, blur=0.0)
    frames = draw_views(many, config, stream()).frames
    width, height = frames[:, 0, 0].abs(), frames[:, 1, 1]
    assert 0.19 < (width * height).min() < 0.25 and (width * height).max() > 0.9
    assert (width / height).min() >= 3 / 4 - 1e-4 and (width / height).max() <= 4 / 3 + 1e-4
    assert 0.4 < (frames[:, 0, 0] < 0).float().mean() < 0.6


def test_grey_has_no_colour_and_keeps_the_luma():
    found = draw_views(pictures(), replace(identity(32), grey=1.0), stream()).images
    luma = torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), pictures())
    torch.testing.assert_close(found, luma[:, None].expand_as(found), atol=1e-5, rtol=0)


def test_colours_move_grey_pictures_in_brightness_and_contrast_only():
    grey = pictures()[:, :1].expand(-1, 3, -1, -1) * 0.3
    found = draw_views(grey, replace(ViewConfig(32, 1.0, 1.0), flip=0.0, blur=0.0), stream()).images
    torch.testing.assert_close(found[:, :1].expand_as(found), found, atol=1e-5, rtol=0)
    assert (found - grey).abs().max() > 0.05


def test_contrast_keeps_the_mean_luma():
    x = pictures() * 0.3
    found = draw_views(x, replace(identity(32), contrast=0.4, coloured=1.0), stream()).images
    weights = torch.tensor([0.299, 0.587, 0.114])
    lumas = [torch.einsum("c,bchw->b", weights, v) / 32**2 for v in (x, found)]
    torch.testing.assert_close(*lumas, atol=1e-4, rtol=0)
    ratio = found.std((1, 2, 3)) / x.std((1, 2, 3))
    assert ratio.min() < 0.95 and ratio.max() > 1.05


def test_blur_keeps_flat_pictures_and_smooths_others():
    config = replace(identity(32), blur=1.0)
    flat = torch.full((4, 3, 32, 32), 0.3)
    torch.testing.assert_close(draw_views(flat, config, stream()).images, flat, atol=1e-5, rtol=0)
    blurred = draw_views(pictures(), config, stream()).images
    assert blurred.diff(dim=3).abs().mean() < 0.9 * pictures().diff(dim=3).abs().mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_views_stay_in_range_and_depend_on_the_stream_alone(seed):
    views = lambda s: draw_views(pictures(), ViewConfig(), stream(s)).images
    one, again, other = views(seed), views(seed), views(seed + 1)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == (6, 3, 48, 48) and one.abs().max() <= 1
    assert F.mse_loss(one, other) > 0.01
