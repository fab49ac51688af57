"""Memory of processes that compute lies in huge pages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engine.pages import huge_pages

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE = """
import torch
from pathlib import Path

tensors = [torch.ones(2**24) for _ in range(4)]  # of 64 MiB
sizes = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
print(*(size[1] for size in sizes if size[0] == "AnonHugePages:"))
"""


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("", "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=2", "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2", "glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2"),
        ("glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=1"),
    ],
)
def test_what_a_user_has_said_is_kept(said, result):
    environment = {} if said is None else {"GLIBC_TUNABLES": said}
    assert huge_pages(environment) == {"GLIBC_TUNABLES": result}


def test_tensors_lie_in_huge_pages(needs_system):
    setting = SETTING.read_text() if SETTING.exists() else ""
    needs_system("[madvise]" in setting or "[always]" in setting, "Linux that gives huge pages to who asks")
    kibibytes = {}
    for asked in (True, False):
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        environment |= huge_pages({}) if asked else {}
        done = subprocess.run([sys.executable, "-c", HUGE], env=environment, check=True, capture_output=True, text=True)
        kibibytes[asked] = int(done.stdout)
    assert kibibytes[True] > 200_000
    if "[madvise]" in setting:
        assert kibibytes[False] < 50_000
