"""How fast a ticket trains: Jackpot's trainer beside a plain loop, on the same network, images and batch, one thread.

    python -m benchmarks.train [--device cpu] [--root IMAGES] [--nets resnet20,vgg19] [--turns N] [--seconds S]
        [--json FILE] [--profile]

The plain loop: contiguous NCHW, a DataLoader of 2 workers with torchvision's transforms, and after each backward pass
the gradient set to zero wherever the weight is zero, as the code of Su et al. (2020) does. All take turns in one
process, and a table shows images a second (medians over turns), their ratios, the share of a step that making its
images takes, the share of the floor (FLOPs of forward and backward passes over the machine's measured matmul rate), and
what each of two trials that train at once still has of that. Neither Ray nor MLflow is loaded. --root: a folder with
train/CLASS/*.jpg and test/CLASS/*.jpg; without it images are made up. The digits are the real ones.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import about, matmul_rate
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from methods.masks import keep_largest
from orchestrator.engine import nets
from orchestrator.engine.data import Batches, DataSet
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.setting import Setting
from orchestrator.engine.train import PASSES, Trainer
from orchestrator.spec.models import Spec

NETS: dict[str, dict[str, Any]] = {
    "resnet20": {"model": "resnet20", "batch": 128},
    "resnet32 x 2": {"model": {"name": "resnet32", "width": 2}, "batch": 64},
    "vgg19": {"model": "vgg19", "batch": 64},
    "digits": {"model": "convnet", "batch": 64, "data": {"name": "digits"}},
}
DENSITY = 0.1
"""Of the weights, kept at random."""
WORKERS = 2
PROFILED = 12
"""Operations that a profile shows."""


@dataclass
class Contest:
    """A network, its data, and its masks by parameter name."""

    setting: Setting
    data: DataSet
    masks: dict[str, torch.Tensor]
    device: torch.device

    def net(self) -> nn.Module:
        """The network as seed 0 draws it, its removed weights zero."""
        net = nets.build(self.setting.model, len(self.data.classes), self.data.shape, seed=0)
        with torch.no_grad():
            for name, mask in self.masks.items():
                net.get_parameter(name).mul_(mask)
        return net


def contest(name: str, root: str | None, device: torch.device) -> Contest:
    """One of NETS, with its data."""
    chosen = NETS[name]
    fake = {"name": "fake", "shape": [3, 32, 32], "train": 5000, "test": 100}
    images = {"name": "image_folder", "root": root} if root else fake
    augmentation = {} if "data" in chosen else {"crop": 4, "flip": True}
    recipe = {"epochs": 1000, "batch": chosen["batch"], "lr": 0.01, "weight_decay": 5e-4, "augmentation": augmentation}
    data = {**chosen.get("data", images), "validation": 0}
    spec = Spec.model_validate(
        {"name": "train", "data": data, "model": chosen["model"], "recipe": recipe, "methods": ["dense"]}
    )
    setting = Setting(spec, spec.model[0])
    source = torch.Generator().manual_seed(0)
    scores = {layer.parameter: torch.rand(layer.shape, generator=source) for layer in setting.layers}
    kept = round(DENSITY * sum(score.numel() for score in scores.values()))
    return Contest(setting, setting.data, keep_largest(scores, kept), device)


class Images(Dataset):
    """The training images one by one, with torchvision's transforms."""

    def __init__(self, data: DataSet, crop: int, flip: bool) -> None:
        from torchvision import transforms

        self.images, self.labels = data.train.images[data.train.indices], data.train.labels
        size = data.shape[1:]
        changes = [transforms.RandomCrop(size, padding=crop)] if crop else []
        changes += [transforms.RandomHorizontalFlip()] if flip else []
        self.transform = transforms.Compose(
            [*changes, transforms.ToTensor(), transforms.Normalize(data.mean, data.std)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        image = self.images[index]
        return self.transform(Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)), int(
            self.labels[index]
        )


class Plain:
    """A plain training loop."""

    def __init__(self, contest: Contest) -> None:
        recipe = contest.setting.spec.recipe
        images = Images(contest.data, recipe.augmentation.crop, recipe.augmentation.flip)
        self.device, self.loader = contest.device, DataLoader(
            images, recipe.batch, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True,
            pin_memory=contest.device.type == "cuda",
        )  # fmt: skip
        self.batches = self._endless()
        self.net = contest.net().to(self.device).train()
        self.layers = [module for module in self.net.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        self.optimiser = torch.optim.SGD(
            self.net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
        )

    def _endless(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        """Train so many steps."""
        for _ in range(steps):
            images, labels = (each.to(self.device, non_blocking=True) for each in next(self.batches))
            self.optimiser.zero_grad()
            loss = F.cross_entropy(self.net(images), labels)
            loss.backward()
            for layer in self.layers:
                layer.weight.grad.mul_(layer.weight.detach().abs().gt(0).float())  # type: ignore[union-attr]
            self.optimiser.step()
            loss.item()


class Ours:
    """Jackpot's trainer."""

    def __init__(self, contest: Contest, precision: str) -> None:
        recipe = contest.setting.spec.recipe.model_copy(update={"precision": precision})
        net = placed(contest.net(), contest.device, contest.data.shape)
        self.batches = Batches(contest.data, recipe.augmentation, contest.device)
        self.trainer = Trainer(net, self.batches, len(contest.data.train.labels), recipe, 0, 0, contest.masks)

    def run(self, steps: int) -> None:
        """Train so many steps."""
        self.trainer.run(self.trainer.progress.step + steps)

    def make_batches(self, count: int) -> None:
        """The images of so many steps, and nothing else."""
        size = self.trainer.recipe.batch
        order = self.batches.order(torch.Generator().manual_seed(0))
        plan = ((order[:size], torch.Generator().manual_seed(step)) for step in range(count))
        for _ in self.batches.training(plan):
            pass


KINDS: dict[str, Callable[[Contest], Plain | Ours]] = {
    "plain": Plain,
    "float32": lambda contest: Ours(contest, "float32"),
    "bfloat16": lambda contest: Ours(contest, "bfloat16"),
}


def timed(run: Callable[[int], None], steps: int) -> float:
    """Seconds a step."""
    began = time.perf_counter()
    run(steps)
    return (time.perf_counter() - began) / steps


def alone(contest: Contest, turns: int, seconds: float, profiles: bool) -> dict[str, Any]:
    """Seconds a step of each kind, medians over turns of about so many seconds, and those of making the images."""
    kinds = {name: make(contest) for name, make in KINDS.items()}
    once = {}
    for name, kind in kinds.items():
        kind.run(2)
        once[name] = timed(kind.run, 2)
    steps = {name: max(1, round(seconds / step)) for name, step in once.items()}
    took: dict[str, list[float]] = {name: [] for name in [*kinds, "images"]}
    ours = kinds["float32"]
    assert isinstance(ours, Ours)
    for turn in range(turns):
        for name in kinds if turn % 2 else reversed(kinds):
            if name == "plain":
                kinds[name].run(2 * WORKERS)  # what the workers have made ready meanwhile
            took[name].append(timed(kinds[name].run, steps[name]))
        took["images"].append(timed(ours.make_batches, max(10, steps["float32"])))
    if profiles:
        for name in ("plain", "float32"):
            print(f"\n{name}:\n{profile(kinds[name])}")
    return {name: statistics.median(own) for name, own in took.items()}


def profile(kind: Plain | Ours) -> str:
    """Where the time of three steps goes, by operation."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    with profiling(activities=[ProfilerActivity.CPU]) as profiler:
        kind.run(3)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    rows = [(event.key, event.self_cpu_time_total / whole, event.count) for event in events[:PROFILED]]
    return "\n".join(f"  {share:6.1%}  {count:6d} x  {name}" for name, share, count in rows)


def beside(name: str, root: str | None, device: str, kind: str, seconds: float, barrier: Any, results: Any) -> None:
    """One of two trials that train at once: puts its seconds a step."""
    torch.set_num_threads(1)
    made = KINDS[kind](contest(name, root, torch.device(device)))
    made.run(2)
    steps = max(1, round(2 * seconds / timed(made.run, 2)))
    barrier.wait()
    if isinstance(made, Plain):
        made.run(2 * WORKERS)
    results.put(timed(made.run, steps))


def at_once(name: str, root: str | None, device: str, kind: str, seconds: float) -> float:
    """Seconds a step of each of two trials that train at once."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    both = [
        context.Process(target=beside, args=(name, root, device, kind, seconds, barrier, results)) for _ in range(2)
    ]
    for process in both:
        process.start()
    found = [results.get(timeout=600) for _ in both]
    for process in both:
        process.join()
    return statistics.fmean(found)


def row(name: str, asked: argparse.Namespace, rates: dict[str, float]) -> dict[str, Any]:
    """All that is measured of a network."""
    own = contest(name, asked.root, torch.device(asked.device))
    seconds, batch = alone(own, asked.turns, asked.seconds, asked.profile), own.setting.spec.recipe.batch
    flops = 2 * PASSES * own.setting.macs.total * batch
    two = {kind: at_once(name, asked.root, asked.device, kind, asked.seconds) for kind in ("plain", "float32")}
    return {
        "net": name,
        "batch": batch,
        "images_per_second": {kind: batch / seconds[kind] for kind in KINDS},
        "ratio": {kind: seconds["plain"] / seconds[kind] for kind in ("float32", "bfloat16")},
        "images_share": seconds["images"] / seconds["float32"],
        "floor_share": {
            kind: flops / rates[kind] / seconds[kind] for kind in ("float32", "bfloat16")
        } | {"plain": flops / rates["float32"] / seconds["plain"]},
        "two_at_once": {kind: seconds[kind] / two[kind] for kind in two},
        "two_ratio": two["plain"] / two["float32"],
    }  # fmt: skip


def show(rows: list[dict[str, Any]], device: str) -> None:
    """Print the table."""
    table = Table(title=f"images a second of training, {device}, one thread; ratios to the plain loop of the same run")
    for column in ("net (batch)", "plain", "Jackpot", "ratio", "bfloat16", "ratio", "making images", "share of floor: "
                   "plain, Jackpot, bfloat16", "two at once, each of alone: plain, Jackpot", "ratio"):  # fmt: skip
        table.add_column(column)
    for each in rows:
        rate, share, two = each["images_per_second"], each["floor_share"], each["two_at_once"]
        table.add_row(
            f"{each['net']} ({each['batch']})", f"{rate['plain']:.4g}", f"{rate['float32']:.4g}",
            f"{each['ratio']['float32']:.2f}", f"{rate['bfloat16']:.4g}", f"{each['ratio']['bfloat16']:.2f}",
            f"{each['images_share']:.1%}", ", ".join(f"{share[kind]:.0%}" for kind in KINDS),
            f"{two['plain']:.0%}, {two['float32']:.0%}", f"{each['two_ratio']:.2f}",
        )  # fmt: skip
    Console(width=170).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--root", help="a folder of images; without it they are made up")
    parser.add_argument("--nets", default=",".join(NETS), help="which of them")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, about")
    parser.add_argument("--json", type=Path, help="where to write all of it")
    parser.add_argument("--profile", action="store_true", help="where the time goes, before and after")
    asked = parser.parse_args()
    chosen = [name.strip() for name in asked.nets.split(",")]
    if unknown := [name for name in chosen if name not in NETS]:
        parser.error(f"--nets: unknown {unknown[0]!r}; known: {', '.join(NETS)}")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    rates = {str(dtype)[6:]: matmul_rate(1, dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    rows = [row(name, asked, rates) for name in chosen]
    show(rows, asked.device)
    print(f"matmul: {rates['float32'] / 1e9:.0f} GFLOP/s in float32, {rates['bfloat16'] / 1e9:.0f} in bfloat16")
    if asked.json:
        asked.json.write_text(json.dumps({"machine": about(), "matmul": rates, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
