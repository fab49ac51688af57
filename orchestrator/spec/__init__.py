"""What the user writes: a sweep's spec, loaded from YAML or Python, with every fault named at once."""

from orchestrator.spec.arms import Arm, arms, expand, label
from orchestrator.spec.json_schema import schema
from orchestrator.spec.loading import Loaded, dump, load
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import Problem, SpecError
from orchestrator.spec.sources import ready
from orchestrator.spec.starter import template

__all__ = [
    "Arm",
    "Loaded",
    "Problem",
    "Spec",
    "SpecError",
    "arms",
    "dump",
    "expand",
    "label",
    "load",
    "ready",
    "schema",
    "template",
]
