"""Sliders under a picture, where somebody is there to move them."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png


def show_sliders(draw: Callable[..., NDArray[np.uint8]], **choices: Sequence[Any]) -> Any:
    """A slider for every choice, and the picture [H, W, 3] that `draw(name=value, ...)` gives at every move.

        sliders(picture, class_name=("robin", "mug"), truncation=(0.2, 0.5, 1.0))

    The widget stands in a live notebook alone. None comes, and nothing is shown, where nobody can move it
    (papermill, nbconvert, nbval, a script) and where ipywidgets is missing: a saved notebook holds no widget
    that could fail to load. Show a strip of the same pictures beside it.
    """
    try:
        import ipywidgets
    except ImportError:
        return None
    if not _live():
        return None
    picture = ipywidgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
    moved = {
        name: ipywidgets.SelectionSlider(
            options=list(values), description=name.replace("_", " "), layout={"width": "480px"}
        )
        for name, values in choices.items()
    }

    def show(_change: object = None) -> None:
        picture.value = encode_png(draw(**{name: slider.value for name, slider in moved.items()}))

    for slider in moved.values():
        slider.observe(show, "value")
    show()
    box = ipywidgets.VBox([*moved.values(), picture])
    return box.add_class("bdgan-sliders")


def _live() -> bool:
    """Whether a notebook's page listens: each of Jupyter, Colab and VS Code tells its kernels in its way."""
    if "google.colab" in sys.modules or "JPY_SESSION_NAME" in os.environ:
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "__vsc_ipynb_file__" in getattr(shell, "user_ns", {})
