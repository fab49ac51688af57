"""A sweep whose disk fills up: a clear end, nothing half-written read later, and the same results after all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kills import write_plugin

SPEC = """
name: full
data: digits
model: {name: convnet, width: 2}
recipe: {epochs: 1}
methods: [dense, random, snip]
sparsities: [0.9]
seeds: [0, 1]
concurrency: 1
tracking: {enabled: false}
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_and_loses_nothing(tmp_path, needs_system):
    needs_system(can_mount(), "unshare and mount, and the right to use them (util-linux; root)")
    (tmp_path / "full.yaml").write_text(SPEC)
    write_plugin(tmp_path / "plugin", "files.STORAGE_SECONDS = 6.0")  # not two minutes
    disk, script = tmp_path / "disk", Path(sys.executable).with_name("jackpot")
    disk.mkdir()
    run = f"{script} run {tmp_path}/full.yaml --out {disk}/sweep"
    # first with room for some of the trials, then with more: the mount lives as long as this shell
    shell = f"""
        mount -t tmpfs -o size=3m none {disk} || exit 99
        {run}; echo "first exit $?"
        find {disk}/sweep -name '*.tmp*' | grep . && echo "left temporary files"
        mount -o remount,size=50m {disk}
        {run}; echo "second exit $?"
        cp {disk}/sweep/results.csv {tmp_path}/results.csv
    """
    path = os.pathsep.join(filter(None, [str(tmp_path / "plugin"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "PYTHONPATH": path}
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", shell], env=environment, capture_output=True, text=True, timeout=800, check=False
    )
    said = ran.stdout + ran.stderr
    assert "first exit 1" in ran.stdout or "first exit 2" in ran.stdout, said
    assert "No space left on device" in said
    assert "free space" in said
    assert "Traceback" not in said
    assert "left temporary files" not in said
    assert "second exit 0" in ran.stdout, said
    rows = (tmp_path / "results.csv").read_text().splitlines()
    assert len(rows) == 7
    assert all(",done," in row for row in rows[1:])
