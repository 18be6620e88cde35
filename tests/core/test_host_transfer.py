"""Several tensors in one transfer are those tensors."""

import numpy as np
import torch

from bdgan_lib.core.host_transfer import join_bytes, split_bytes, to_host


def test_bytes_that_were_joined_are_split_into_the_same_arrays():
    tensors = [
        torch.tensor([True]),  # what comes next is not aligned
        torch.randn(3, 2),
        torch.randint(0, 255, (2, 3, 5), dtype=torch.uint8).permute(2, 0, 1),
        torch.arange(7),
        torch.zeros(0, 4),
    ]
    for arrays in (split_bytes(join_bytes(tensors).numpy(), tensors), to_host(tensors)):
        for array, tensor in zip(arrays, tensors, strict=True):
            assert array.dtype == tensor.numpy().dtype and np.array_equal(array, tensor.numpy())
