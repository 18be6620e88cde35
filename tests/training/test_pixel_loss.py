"""The cross-entropy by label is PyTorch's: its value and its gradient."""

import pytest
import torch
import torch.nn.functional as F

from bdgan_lib.training.pixel_loss import cross_entropy_by_label


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("labels", [2, 13, 400])
def test_value_and_gradient_are_those_of_cross_entropy(labels, dtype, tolerance):
    noise = torch.Generator().manual_seed(labels)
    logits = (30 * torch.randn(labels, 500, generator=noise)).to(dtype)
    targets = torch.randint(0, labels, (500,), generator=noise)
    targets[::3] = 255
    expected = logits.float().T.clone().requires_grad_()
    wanted_loss = F.cross_entropy(expected, targets, ignore_index=255)
    (7 * wanted_loss).backward()
    logits.requires_grad_()
    loss = cross_entropy_by_label(logits, targets)
    (7 * loss).backward()
    assert loss.item() == pytest.approx(wanted_loss.item(), rel=1e-5)
    assert logits.grad.dtype == dtype
    torch.testing.assert_close(logits.grad.float(), expected.grad.T, atol=1e-7, rtol=tolerance)
    assert not logits.grad[:, ::3].any(), "unlabelled pixels teach nothing"


def test_pixels_that_are_all_unlabelled_have_no_loss():
    targets = torch.full((4,), 255)
    assert cross_entropy_by_label(torch.zeros(3, 4), targets).isnan()
