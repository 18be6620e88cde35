"""Checkpoints of a training: what is damaged or of another training is named."""

import pytest
import torch

from bdgan_lib.core.types import BdganError
from bdgan_lib.training.checkpoint import Checkpoint


@pytest.mark.parametrize(
    "change", [{"net": None}, {"losses": None}, {"losses": ["x"]}, {"net": {"a": 1}}, {}]
)
def test_missing_and_damaged_parts_are_named(tmp_path, change):
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "a", {"net": torch.nn.Linear(2, 2)})
    checkpoint.save([1.0, 2.0])
    assert checkpoint.resume() == [1.0, 2.0]
    state = torch.load(checkpoint.path)
    if not change:
        del state["net"]
    torch.save(state | change, checkpoint.path)
    with pytest.raises(BdganError, match=r"checkpoint\.pt is damaged.*remove it"):
        checkpoint.resume()
