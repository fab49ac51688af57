"""The sweep that several tests disturb, each in its way."""

CHAIN = {
    "name": "chain",
    "data": "digits",
    "model": "convnet",
    "recipe": {"epochs": 12},
    "methods": ["dense", {"name": "lottery", "fraction": 0.5}],
    "sparsities": [0.7],
    "concurrency": 1,
    "latency": {"batches": [1], "seconds": 0.05},
    "tracking": {"enabled": False},
}
"""A sweep of 36 epochs: the dense training and the levels at densities 0.5 and 0.3."""
