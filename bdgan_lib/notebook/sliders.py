"""Sliders that redraw a picture, in live notebooks."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png


def show_sliders(draw: Callable[..., NDArray[np.uint8]], **choices: Sequence[Any]) -> Any:
    """Sliders for the choices, and below them the picture [H, W, 3] that `draw(name=value, ...)` returns.

        show_sliders(picture, class_name=("robin", "mug"), truncation=(0.2, 0.5, 1.0))

    Returns None and shows nothing without ipywidgets or a live notebook (papermill, nbconvert, nbval, a
    script), so that a saved notebook holds no widget that could fail to load. Show a strip of the same
    pictures beside it.
    """
    try:
        import ipywidgets
    except ImportError:
        return None
    if not _live():
        return None
    picture = ipywidgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
    slider = partial(ipywidgets.SelectionSlider, layout={"width": "480px"})
    moved = {k: slider(options=list(v), description=k.replace("_", " ")) for k, v in choices.items()}

    def show(_change: object = None) -> None:
        picture.value = encode_png(draw(**{name: slider.value for name, slider in moved.items()}))

    for slider in moved.values():
        slider.observe(show, "value")
    show()
    box = ipywidgets.VBox([*moved.values(), picture])
    return box.add_class("bdgan-sliders")


def _live() -> bool:
    """Whether a notebook is open in Jupyter, Colab or VS Code; each marks its kernels in its own way."""
    if "google.colab" in sys.modules or "JPY_SESSION_NAME" in os.environ:
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "__vsc_ipynb_file__" in getattr(shell, "user_ns", {})
