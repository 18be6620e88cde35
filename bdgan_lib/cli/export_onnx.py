"""`bdgan export-onnx`: a generator and its label head as one file for onnxruntime, in Python or a browser."""

from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.cli.options import Out, ProfileName, Truncation, app, sampling_of
from bdgan_lib.profiles import load_profile


@app.command("export-onnx", out_is_file=True)
def export_onnx_command(
    out: Out,
    head: Annotated[Path, typer.Option(help="A folder of `bdgan train-head` on the same profile.")],
    precision: Annotated[str, typer.Option(help="fp32, or fp16 for a file of half the size.")] = "fp32",
    truncation: Truncation = None,
    features: Annotated[
        int,
        typer.Option(min=0, max=4096, help="Numbers per pixel for other heads; 0: none."),
    ] = 0,
    feature_side: Annotated[int, typer.Option(min=1, max=4096, help="Their height and width.")] = 64,
    profile: ProfileName = "pocket",
) -> None:
    """Write a BigGAN and its label head as one ONNX file: image, mask and uncertainty of a latent.

    The file is compared with torch, and not kept where it differs.
    """
    from bdgan_lib.heads.files import load_head
    from bdgan_lib.heads.onnx_export import export_onnx
    from bdgan_lib.heads.onnx_graph import OPSET

    world = load_profile(profile)
    sampling = sampling_of(world, truncation, None, None, None)
    about = {"profile": world.name, "licence": world.licence, "parts": dict(world.parts)}
    differences = export_onnx(
        world.generator(), load_head(head), out, precision, sampling, features, feature_side, about
    )
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB, opset {OPSET}, weights in {precision}")
    print(f"against torch: {differences}")
