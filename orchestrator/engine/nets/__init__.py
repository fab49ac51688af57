"""Networks: built-in ones by name, a user's own, and the weights they start from."""

from orchestrator.engine.nets.check import check_model
from orchestrator.engine.nets.errors import ModelError
from orchestrator.engine.nets.registry import build, known, skeleton, source_of
from orchestrator.engine.nets.weights import load_weights, weights_fingerprint

__all__ = [
    "ModelError",
    "build",
    "check_model",
    "known",
    "load_weights",
    "skeleton",
    "source_of",
    "weights_fingerprint",
]
