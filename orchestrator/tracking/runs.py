"""The runs of one sweep on an MLflow server or database: found by their tags, written in few requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from orchestrator.tracking.record import Point, key_of

ALL, FEW = 1000, 100  # MLflow's limits of one request: of all it holds, and of params and tags
PARENT = "mlflow.parentRunId"

WRITING, RESULT = "mlflow.jackpot.writing", "mlflow.jackpot.result"
"""On the run of a trial or of an aggregate: whose content it is being written from; and, set last, whose it holds.
MLflow's pages hide the tags that begin like its own: these say nothing to a reader."""

T = TypeVar("T")


class Runs:
    """The runs that belong to a sweep, by its identity, in one experiment. `kind`: "sweep", "aggregate" or "trial".

    Every method may raise whatever MLflow and the network raise."""

    def __init__(self, client: Any, experiment: str, identity: str, sweep: str) -> None:
        self.client, self.experiment = client, experiment
        self.identity, self.sweep = identity, sweep

    def condition(self, kind: str, **tags: str) -> str:
        """MLflow's filter of the runs of a kind with some tags, which are named without their prefix."""
        wanted = {"id": self.identity, "kind": kind, **tags}
        return " and ".join(f"tags.`jackpot.{name}` = '{value}'" for name, value in wanted.items())

    def search(self, kind: str, running: bool = False, **tags: str) -> list[Any]:
        """All active runs of a kind with some tags; of those, the ones that have not ended."""
        condition = self.condition(kind, **tags) + (" and attributes.status = 'RUNNING'" if running else "")
        runs: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], condition, max_results=500, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def create(self, kind: str, name: str, tags: Mapping[str, str], started: int | None = None) -> Any:
        """A new run. started: milliseconds (default: now)."""
        own = {"jackpot.id": self.identity, "jackpot.sweep": self.sweep, "jackpot.kind": kind}
        return self.client.create_run(self.experiment, start_time=started, tags={**own, **tags}, run_name=name)

    def rename(self, run: Any, name: str) -> None:
        """Give a run a name, unless it has it."""
        if run.info.run_name != name:
            self.client.update_run(run.info.run_id, name=name)
            run.info._run_name = name

    def delete(self, run: Any) -> None:
        """Delete a run (MLflow keeps it among the deleted ones)."""
        self.client.delete_run(run.info.run_id)

    def log(
        self,
        run: Any,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metrics, params and tags in as few requests as MLflow's limits allow. Tags go last, and the last of
        them in the last request: a tag that says that a run is whole is true."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(*point) for point in points]
        settings = [Param(*item) for item in (params or {}).items()]
        labels = [RunTag(*item) for item in (tags or {}).items()]
        while len(metrics) + min(len(settings), FEW) + min(len(labels), FEW) > ALL or len(settings) > FEW:
            some = settings[:FEW]
            self.client.log_batch(run.info.run_id, metrics=metrics[: ALL - len(some)], params=some)
            metrics, settings = metrics[ALL - len(some) :], settings[FEW:]
        first, *others = list(_chunks(labels, FEW)) or [[]]
        if metrics or settings or first:
            self.client.log_batch(run.info.run_id, metrics=metrics, params=settings, tags=first)
        for some_tags in others:
            self.client.log_batch(run.info.run_id, tags=some_tags)

    def tag(self, run: Any, name: str, value: str) -> None:
        """Set a tag, here and there."""
        self.client.set_tag(run.info.run_id, key_of(name), value)
        run.data.tags[key_of(name)] = value

    def end(self, run: Any, status: str, when: int | None = None) -> None:
        """Set how a run ended. when: milliseconds (default: now)."""
        self.client.set_terminated(run.info.run_id, status, when)


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
