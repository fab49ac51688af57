"""What the command lines of benchmarks have in common: kinds of arguments that say what is wrong before anything is
measured, and the file of figures."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from orchestrator.engine.data import DataError, load_data
from orchestrator.engine.files import write_text
from orchestrator.spec.data import ImageFolder


def natural(text: str) -> int:
    """An argument's type: a whole number, 1 at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 at least")
    return int(text)


def positive(text: str) -> float:
    """An argument's type: a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def add_json(parser: argparse.ArgumentParser, name: str) -> None:
    """The option --json: where `keep` writes to. By default no run writes over another's figures."""
    default = Path(__file__).parent / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    said = f"where the figures go (default: benchmarks/{name}-TIME.json)"
    parser.add_argument("--json", type=_file, default=default, metavar="FILE", help=said)


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file in it")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise argparse.ArgumentTypeError(f"nothing can be written in {there}; name a file in another folder")
    return path


def keep(path: Path, found: dict[str, Any]) -> None:
    """Write the figures, whole or not at all, and say where."""
    write_text(path, json.dumps(found, indent=1) + "\n")
    print(f"figures: {path}")


def add_root(parser: argparse.ArgumentParser) -> None:
    """The option --root: images to train on."""
    parser.add_argument(
        "--root", help="a folder with train/CLASS/*.jpg and test/CLASS/*.jpg; without it images are made up"
    )


def images(root: str | None) -> dict[str, Any]:
    """The section `data` of the images of --root, or of as many made-up ones of 32x32 pixels as tell speeds."""
    if root:
        return {"name": "image_folder", "root": root}
    return {"name": "fake", "shape": [3, 32, 32], "train": 5000, "test": 100}


def refuse_unreadable(parser: argparse.ArgumentParser, root: str | None) -> None:
    """End with what is wrong with the images of --root. What was read is kept for the processes that train."""
    try:
        if root:
            load_data(ImageFolder.model_validate({**images(root), "validation": 0}))
    except DataError as error:
        parser.error(f"--root: {error}")
