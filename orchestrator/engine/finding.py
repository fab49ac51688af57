"""Finding a sweep, or a trial of one, by what commands call it: a path, a name in ./sweeps, an address."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from orchestrator.engine.folder import ADDRESS, FolderError, SweepFolder, address_of


def folder_at(address: str | os.PathLike) -> SweepFolder:
    """The folder of a sweep at a path, or at an address such as s3://BUCKET/sweeps/NAME."""
    if "://" not in str(address):
        path = Path(address).expanduser()
        if not (path / ADDRESS).exists():
            return SweepFolder(path)
        address = address_of(path)
    from orchestrator.engine.remote_folder import RemoteFolder

    return RemoteFolder(str(address))


def find_sweep(sweep: str | os.PathLike) -> SweepFolder:
    """The folder of a sweep, given as a path, as the name of one in ./sweeps, or as an address. Raises FolderError."""
    if "://" in str(sweep):
        folder = folder_at(sweep)
        folder.pull()
        if not (folder.path / "plan.json").exists():
            raise FolderError(f"{sweep}: no sweep here; name the address that `--out` of `jackpot run` or `submit` had")
        return folder
    for path in (Path(sweep), Path("sweeps") / sweep):
        if (path / "plan.json").exists():
            folder = folder_at(path)
            folder.pull()
            folder.refuse_links()
            return folder
    there = sorted(path.parent.name for path in Path("sweeps").glob("*/plan.json"))
    known = f"; in ./sweeps: {', '.join(there)}" if there else ""
    raise FolderError(f"{sweep}: no sweep here; name a sweep's folder, as `jackpot run` prints it{known}")


def find_trial(trial: str | os.PathLike) -> tuple[SweepFolder, str]:
    """A trial, given as its folder, as SWEEP/TRIAL, or as the id of one in ./sweeps. Raises FolderError."""
    if "://" in str(trial):
        sweep, _, name = str(trial).rstrip("/").rpartition("/")
        folder = find_sweep(sweep.removesuffix("/trials"))
        if not folder.trial(name).is_dir():
            raise FolderError(f"{trial}: no such trial; `jackpot status {folder.address} --trials` lists them")
        folder.pull(name)
        return folder, name
    given = Path(trial)
    if given.name == str(trial):  # an id alone: whichever sweep has it
        candidates = sorted(Path("sweeps").glob(f"*/trials/{glob.escape(str(trial))}"))
    else:
        in_sweep = given.parent / "trials" / given.name
        candidates = [given, in_sweep, Path("sweeps") / in_sweep]
    found = sorted({path.absolute() for path in candidates if path.parent.name == "trials" and path.is_dir()})
    if not found:
        raise FolderError(
            f"{trial}: no such trial; name its folder, or SWEEP/TRIAL (`jackpot status SWEEP --trials` lists them)"
        )
    if len(found) > 1:
        raise FolderError(f"{trial}: in several sweeps; name one of: {', '.join(map(str, found))}")
    folder = folder_at(found[0].parent.parent)
    folder.refuse_links()
    folder.trial(found[0].name)  # refuses ..
    folder.pull(found[0].name)
    return folder, found[0].name
