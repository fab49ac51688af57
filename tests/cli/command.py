"""The command line, called in this process, and the spec of the sweep that it is tried on."""

from typer.testing import CliRunner

from orchestrator.cli.app import app

SPEC = {
    "name": "small",
    "data": "digits",
    "model": "convnet",
    "recipe": {"epochs": 1, "batch": 256},
    "methods": ["dense", "random", {"name": "lottery", "fraction": 0.7}],
    "sparsities": [0.7],
    "latency": {"batches": [1], "seconds": 0.01},
}


def jackpot(*arguments):
    return CliRunner().invoke(app, list(arguments))
