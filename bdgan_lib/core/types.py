"""What every room shares: the error of a user's mistake, and the label of an unlabelled pixel."""

from __future__ import annotations  # torch is named in types alone: renderer processes start without it

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

UNLABELLED = 255  # the label of a pixel nobody labelled; losses and metrics leave it out


class BdganError(ValueError):
    """A user's mistake or a damaged file; its line says what came, what was wanted, what to do next."""
