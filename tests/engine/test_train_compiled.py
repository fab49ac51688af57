"""Training whose steps are compiled: the numbers of eager torch, and the same bits wherever it is broken off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import BATCH, BF16, CLASSES, IMAGES, SGD, Noise, make_masks, make_net, make_recipe, make_trainer
from torch import nn

from orchestrator.engine import compiling
from orchestrator.engine.compiling import CannotCompile
from orchestrator.engine.data.sending import sent
from orchestrator.engine.evaluating import Batch
from orchestrator.engine.few_steps import FewSteps, Timings
from orchestrator.engine.train import Trainer, weights_of

COMPILED: dict[str, Any] = {**SGD, "compile": True}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class Sent(Noise):
    """The images on a device."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = torch.device(device)

    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        return map(self._sent, super().training(plan))

    def evaluation(self, split: str) -> Iterator[Batch]:
        return map(self._sent, super().evaluation(split))

    def _sent(self, batch: Batch) -> Batch:
        return sent(batch[0], self.device), sent(batch[1], self.device)


def _without_dropout(options: dict[str, Any], device: str) -> Trainer:
    """Dropout's draws are not those of eager torch."""
    net = make_net().to(device)
    net.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
    return Trainer(net, Sent(device), IMAGES, make_recipe(**options), 5, 0, make_masks(net))


def _copies(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = trainer.state()
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def _weights(trainer: Trainer) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in weights_of(_copies(trainer)).items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", [SGD, BF16], ids=["float32", "bfloat16"])
def test_the_numbers_are_those_of_eager_torch(options: dict[str, Any], device: str) -> None:
    eager, compiled = (_without_dropout(each, device) for each in (options, {**options, "compile": True}))
    eager.run(12)
    compiled.run(12)
    close = {"rtol": 1e-3, "atol": 1e-5} if options is SGD else {"rtol": 0.05, "atol": 0.05}
    for name, value in weights_of(eager.state()).items():
        torch.testing.assert_close(compiled.state()[name], value, msg=name, **close)
    assert not torch.equal(compiled.net.get_parameter("fc.weight"), make_net().get_parameter("fc.weight").to(device))
    for name, mask in make_masks(compiled.net).items():
        assert not compiled.net.get_parameter(name)[~mask.to(device)].any()
    assert eager.progress.macs == compiled.progress.macs
    assert eager.progress.history[-1]["loss/train"] == pytest.approx(compiled.progress.history[-1]["loss/train"], 1e-2)


def test_whole_batches_are_compiled_and_an_epochs_smaller_last_one_is_not() -> None:
    trainer = make_trainer(make_recipe(**COMPILED))
    assert trainer.compiled is not None
    sizes, inner = [], trainer.compiled

    def watched(net: nn.Module, images: torch.Tensor, *others: Any) -> torch.Tensor:
        sizes.append(len(images))
        return inner(net, images, *others)

    trainer.compiled = watched  # type: ignore[assignment]
    trainer.run(6)
    assert sizes == [BATCH] * 4
    assert inner.seconds > 0


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_broken_off_gives_the_same_bits(stop: int, options: dict[str, Any]) -> None:
    recipe = make_recipe(**COMPILED, **options)
    whole, part, continued = (make_trainer(recipe) for _ in range(3))
    whole.run(12)
    part.run(stop)
    continued.restore(_copies(part))
    continued.run(12)
    assert _weights(continued) == _weights(whole)


RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from tiny_training import SGD, make_recipe, make_trainer
trainer = make_trainer(make_recipe(**SGD, compile=True))
if sys.argv[2] != "-":
    trainer.restore(torch.load(sys.argv[2]))
trainer.run(int(sys.argv[3]))
torch.save({name: value.clone() for name, value in trainer.state().items()}, sys.argv[4])
"""


@pytest.mark.slow
def test_processes_that_compile_anew_give_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(start: str, until: int, cache: str) -> str:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / cache))
        out = str(tmp_path / f"{cache}-{until}.pt")
        subprocess.run([sys.executable, "-c", RUN, str(Path(__file__).parent), start, str(until), out], check=True)
        return out

    whole = torch.load(run("-", 12, "one"))
    part = torch.load(run(run("-", 5, "one"), 12, "two"))
    assert all(torch.equal(part[name], value) for name, value in whole.items() if name != "progress/json")


def test_networks_of_one_shape_share_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    make_trainer(make_recipe(**COMPILED)).run(2)
    counters.clear()
    make_trainer(make_recipe(**COMPILED), seed=6).run(2)
    assert not counters["stats"]["unique_graphs"]
    assert not counters["inductor"]


@pytest.mark.parametrize(("options", "made"), [(SGD, 1), (COMPILED, 2)], ids=["eager", "compiled"])
def test_a_forecast_does_not_take_compiling_for_a_step(options: dict[str, Any], made: int) -> None:
    net = make_net()
    trainer = FewSteps(Timings(), "kind", net, Noise(), IMAGES, make_recipe(**options), 5, 0, make_masks(net))
    marks = trainer._make_steps(1, lambda: None, {})
    assert len(marks) == 2, "when the one step that is timed began and ended"
    assert trainer.progress.step == made


class Branches(nn.Module):
    """Computes something else where its input is large."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(108, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1)) * (2 if x.sum() > 0 else 1)


def test_a_network_that_cannot_be_compiled_is_refused_with_what_to_do() -> None:
    trainer = Trainer(Branches(), Noise(), IMAGES, make_recipe(**COMPILED), 5, 0)
    with pytest.raises(CannotCompile, match=r"same operations for every input.*set recipe.compile to false"):
        trainer.run(1)


def test_without_a_compiler_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(CannotCompile, match=r"no C\+\+ compiler.*install g\+\+.*set recipe.compile to false"):
        make_trainer(make_recipe(**COMPILED))
    make_trainer(make_recipe(**SGD)).run(1)
