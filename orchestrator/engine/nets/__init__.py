"""Networks: built-in ones and torchvision's by name, a user's own, the weights they start from, and what is left of
them when their structure is pruned."""

from orchestrator.engine.nets.check import check_model, fault_on_one_image
from orchestrator.engine.nets.errors import ModelError
from orchestrator.engine.nets.fitted import fitted, structure_of
from orchestrator.engine.nets.registry import build, canonical, known, skeleton, source_of
from orchestrator.engine.nets.weights import load_weights, weights_fingerprint

__all__ = [
    "ModelError",
    "build",
    "canonical",
    "check_model",
    "fault_on_one_image",
    "fitted",
    "known",
    "load_weights",
    "skeleton",
    "source_of",
    "structure_of",
    "weights_fingerprint",
]
