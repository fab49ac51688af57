"""Searches whose trials are never trained, for tests of what they decide."""

import random
import time
from decimal import Decimal

from methods.ratios import given_counts
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import blank_result, write_result
from orchestrator.sweep.outcome import resumed
from orchestrator.sweep.ratio_search import RatioSearch

SEARCH = {
    "method": "hybrid",
    "sparsity": 0.9,
    "space": "free",
    "trials": 14,
    "finalists": {"best": 2, "seeds": [7, 8]},
}


class Sweep:
    """A search whose trials are never trained: their results are made up from their ratios."""

    def __init__(self, spec, folder, hours=lambda: 0.0):
        self.spec, self.folder = spec, folder
        self.plan = resumed(folder, make_plan(spec))
        self.search = RatioSearch(spec, folder, self.plan, hours)
        self.waiting = [p for p in self.plan.planned if p.id not in self.plan.done and p.trial.arm.name == "hybrid"]
        self.advance()

    def advance(self):
        self.waiting += [p for p in self.search.advance() if p.id not in self.plan.done]

    def finish(self, planned, status="done", **metrics):
        """Make up a trial's result, and let the search hear of it."""
        self.waiting.remove(planned)
        setting = Setting(self.spec, planned.trial.model)
        result = blank_result(setting, planned.trial, planned.chain.key, 1) | {"status": status, "ended": time.time()}
        if status == "done":
            counts = self.counts(planned)
            # best where the layers keep alike, with a little of each layer's own
            score = 1 - sum((c / layer.weights - 0.1) ** 2 * (i + 1) for i, (c, layer) in enumerate(counts))
            result["metrics"] = {"accuracy/val": score, "loss/val": 1 - score, "macs": float(counts[0][0])} | metrics
            result["layers"] = [
                {"name": layer.name, "weights": layer.weights, "kept": c, "keep_ratio": c / layer.weights}
                for c, layer in counts
            ]
        write_result(self.folder, result)
        self.search.end(planned.id)
        self.advance()

    def counts(self, planned):
        layers, options = self.search.ground.layers, planned.trial.arm.options
        if options["ratios"]:
            kept = given_counts({k: Decimal(v) for k, v in options["ratios"].items()}, layers, planned.trial.sparsity)
        else:  # lamp's and magnitude's are made up
            kept = self.search.ground.formula({"lamp": "balanced", "magnitude": "cubic"}.get(options["ratio"],
                                              options["ratio"]), planned.trial.sparsity)  # fmt: skip
        return list(zip(kept, layers, strict=True))

    def proposals(self, number):
        """At most so many of the waiting proposals, as slots would hold them."""
        return [p for p in self.waiting if p.trial.search is not None][:number]

    def run(self, slots=2, seed=0, until=10**9):
        """Run the search with some slots, whose trials end in an order drawn from a seed."""
        draw = random.Random(seed)
        done = 0
        while (running := self.proposals(slots)) and done < until:
            self.finish(draw.choice(running))
            done += 1
        return self

    @property
    def points(self):
        return {n: decided.point for n, decided in sorted(self.search.decisions.proposals.items())}
