"""Where CIFAR's published archives are unpacked, and how they come there."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.data.cache import cache_folder, locked
from orchestrator.engine.data.dataset import DataError
from orchestrator.engine.files import digest
from orchestrator.spec.data import Cifar

PATIENCE_SECONDS = 20
"""How long a download may hear nothing."""


FILE_BYTES = 200_000_000
"""A file of an archive is at most this large; the largest of the published ones has 154 MB."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of one of the two archives are."""

    reference: str
    """torchvision's class, which knows address and checksums."""
    folder: str
    files: dict[str, tuple[str, ...]]
    """Split -> its files."""
    meta: str
    names: str
    """The key of the class names in the file `meta`."""
    labels: str
    classes: int

    def names_of_files(self) -> list[str]:
        """All its files."""
        return [self.meta, *(name for names in self.files.values() for name in names)]


CIFAR10 = Layout(
    reference="CIFAR10",
    folder="cifar-10-batches-py",
    files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    meta="batches.meta",
    names="label_names",
    labels="labels",
    classes=10,
)
CIFAR100 = Layout(
    reference="CIFAR100",
    folder="cifar-100-python",
    files={"train": ("train",), "test": ("test",)},
    meta="meta",
    names="fine_label_names",
    labels="fine_labels",
    classes=100,
)


def find(data: Cifar, layout: Layout) -> Path:
    """The folder of the unpacked archive, downloaded if it is not there and the spec allows it. Raises DataError
    saying what to put where."""
    root = Path(data.root).expanduser().resolve()
    folder = root / layout.folder
    files = layout.names_of_files()
    why = "the spec says `download: false`"
    if not folder.exists() and data.download:
        try:
            lock = cache_folder() / f"{digest(str(folder))[:32]}.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            with locked(lock):
                if not folder.exists():
                    download(layout, root)
        except (OSError, RuntimeError) as error:
            why = f"the download failed ({error})"
    if folder.is_dir():
        missing = [name for name in files if not (folder / name).is_file()]
        if not missing:
            return folder
        raise DataError(
            f"{folder} has no {', '.join(missing)}; unpack the published archive there again, or remove the folder "
            "and let `download: true` fetch it"
        )
    raise DataError(
        f"{folder} does not exist, and {why}; put the folder {layout.folder} of the published archive "
        f"({layout.folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz, unpacked) into {root}: "
        f"it holds {', '.join(files)}"
    )


def download(layout: Layout, root: Path) -> None:
    """Download and unpack the archive into `root`: the folder is there whole or not at all. An archive that lies in
    `root` is used. Raises OSError or RuntimeError."""
    from torchvision import datasets
    from torchvision.datasets.utils import download_url

    reference = getattr(datasets, layout.reference)
    there = root.exists()
    root.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{layout.folder}.", dir=root))
    try:
        with _patience():
            download_url(reference.url, str(root), reference.filename, reference.tgz_md5)
        unpack(root / reference.filename, layout, temporary)
        os.replace(temporary / layout.folder, root / layout.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not there:
            with suppress(OSError):  # it holds something now
                root.rmdir()


def unpack(archive: Path, layout: Layout, to: Path) -> None:
    """Take the files of the layout out of an archive, and nothing else: no links, and no paths that the archive says.
    Raises RuntimeError where it holds anything else of their names, or is torn."""
    (to / layout.folder).mkdir()
    left = {f"{layout.folder}/{name}" for name in layout.names_of_files()}
    try:
        with tarfile.open(archive, "r:gz") as file:
            for member in file:
                if member.name not in left:
                    continue
                content = file.extractfile(member) if member.isfile() and member.size <= FILE_BYTES else None
                if content is None:
                    raise RuntimeError(f"{archive}: {member.name} is no file of at most {FILE_BYTES:,} bytes")
                with content, open(to / member.name, "wb") as target:
                    shutil.copyfileobj(content, target)
                left.discard(member.name)
                if not left:  # whatever follows is not even looked through
                    return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise RuntimeError(f"{archive}: cannot be unpacked ({error}); remove it") from error
    raise RuntimeError(f"{archive}: holds no {', '.join(sorted(left))}; remove it")


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
