"""Which options mean the same in every command?"""

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="The training set: a folder class/*.jpg, or train/ and test/ with classes inside; a flat folder with --labels; a "
        "Parquet file or folder of images; a .npz file (x, y); a .npy file of features; CIFAR-10/100 files as their authors ship "
        "them; hf:NAME; or the built-in set digits.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by dataprune score.", show_default=False)]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        help="Take the labels from this CSV or Parquet file: by its column id if it has one, else by row. Indices or names.",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Side to which pictures are brought. Default: their own up to 128, else by the median picture.",
        show_default=False,
    ),
]
OnError = Annotated[
    Literal["fail", "skip"],
    typer.Option(help="What to do about a file that cannot be read: stop before any work, or leave it out and list it."),
]
Seed = Annotated[
    int, typer.Option(metavar="NUMBER", help="Number from which everything random follows; the same number gives the same result.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="NUMBER", help="Processes at once; no result depends on it. Default: one a core.", show_default=False
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT",
        help="With --executor ray: the cluster to join, made by ray start --head. Default: one on this machine, ended afterwards.",
        show_default=False,
    ),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="SHARE", help="With --executor ray: the share of a GPU that one training takes.", show_default=False
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")]
