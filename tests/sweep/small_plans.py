"""A real plan of few trials, for what decides which of them is next."""

from orchestrator.engine.plan import make_plan
from orchestrator.spec.models import Spec

DENSE, RANDOM = "convnet_dense_seed0", "convnet_random_s50_seed0"
LOTTERY_50, LOTTERY_75 = "convnet_lottery-fraction0.5_s50_seed0", "convnet_lottery-fraction0.5_s75_seed0"


def small_plan(seeds):
    """For each seed: dense (one training), random (one), lottery at 50 % (dense and one more) and at 75 % (three)."""
    return make_plan(
        Spec.model_validate(
            {
                "name": "small",
                "data": "digits",
                "model": "convnet",
                "recipe": {"epochs": 2},
                "methods": ["dense", "random", {"name": "lottery", "fraction": 0.5}],
                "sparsities": [0.5, 0.75],
                "seeds": seeds,
            }
        )
    )
