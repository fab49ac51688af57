"""Huge pages (of 2 MB) for the memory of processes that compute.

A step of training allocates and frees hundreds of megabytes. In pages of 4 KiB the system hands them out and takes them
back thousands of times a step, and a virtual machine looks each up in two tables; Linux gives huge ones to who asks, as
most of its distributions set it up (`madvise` in /sys/kernel/mm/transparent_hugepage/enabled). glibc asks where one of
its tunables says so (2.35 and later; an older one and another C library take no notice of it), which a process is
started with."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
TUNABLE = "glibc.malloc.hugetlb"
HUGE = "1"
"""By madvise, where a page of 2 MB is free; none is set aside."""


def huge_pages(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to add to the environment of a process for its memory to lie in huge pages. Tunables that the environment
    has are kept, this one too."""
    said = environment.get(VARIABLE, "")
    tunables = [each for each in said.split(":") if each]
    if not any(each.split("=")[0] == TUNABLE for each in tunables):
        tunables.append(f"{TUNABLE}={HUGE}")
    return {VARIABLE: ":".join(tunables)}
