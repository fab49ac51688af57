"""How tests write images of a folder, name it in a spec, and see it refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.engine.data import DataError
from orchestrator.engine.data.image_folder import load_image_folder
from orchestrator.spec.data import ImageFolder


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def folder_spec(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **options)


def problems(root: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        load_image_folder(folder_spec(root, **options))
    return raised.value.problems
