"""Dropping the stages that no ticket still to be found needs."""

from __future__ import annotations

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import BAD
from orchestrator.spec.loading import load
from orchestrator.sweep.ratio_search import RatioSearch


def collect(folder: SweepFolder, dry_run: bool = False) -> tuple[int, int]:
    """Remove every stage that is not in the chain of a planned trial without a result; tickets hold their own
    weights and masks; and what killed workers have left. Returns how many stages, and the bytes of all."""
    spec = load(folder.path / "spec.yaml").require()
    plan = make_plan(spec)
    needed = set()
    for planned in plan.planned:
        result = folder.result(planned.id, planned.chain.key)
        if result is None or result["status"] in BAD:
            needed |= {request.key for request in planned.chain.requests} | set(plan.segments(planned))
    stages = size = 0
    if spec.search is not None:
        needed |= _of_search(RatioSearch(spec, folder, plan))
    for key in folder.store.stages():
        if key not in needed and (folder.store.meta(key) or {}).get("kind") != "measure":  # tiny, and dear to measure
            stages += 1
            size += folder.store.size(key) if dry_run else folder.store.delete(key)
    for name, left in folder.store.litter(needed).items():
        size += left
        if not dry_run:
            folder.store.discard(name)
    return stages, size


def _of_search(search: RatioSearch) -> set[str]:
    """The stages that the trials of a search may still need: of those that are planned without a result, and, while
    others are to come, of all that it began with, whose dense networks they share."""
    if search.complete and search.decisions.finalists:
        search.advance()  # takes the finalists into the plan
    planned = search.plan.planned if not search.settled else []
    return {
        key
        for each in planned
        if each.trial.arm.name == search.ground.method.name
        for key in [*(request.key for request in each.chain.requests), *search.plan.segments(each)]
    }


def collect_alone(folder: SweepFolder, dry_run: bool = False) -> tuple[int, int]:
    """`collect`, for a caller that does not drive the sweep. Raises FolderError where another process does."""
    if dry_run:
        return collect(folder, dry_run=True)
    with folder.driving():
        folder.pull()  # what another driver planned until now
        return collect(folder)
