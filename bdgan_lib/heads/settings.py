"""Settings of a training, apart from the training: commands read their defaults without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadTraining:
    """How a label head is trained; a step is one batch."""

    steps: int = 500  # paper: 5_000
    batch_size: int = 4  # over all devices, as in the paper
    learning_rate: float = 5e-3  # peak of a one-cycle schedule; paper: 1e-3 constant
    weight_decay: float = 1e-4
    parts: bool = False  # learn every label of the masks; else foreground and background
    pixel_share: float = 1.0  # of a batch's pixels that enter the loss; DatasetGAN samples pixels
    member_share: float = 0.5  # of a batch that each member of an ensemble learns from, drawn per member
    save_every: int = 100  # steps between checkpoints
    seed: int = 0
