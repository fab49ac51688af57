"""Who trains in train.py: a plain loop and Jackpot's trainer, whole or without one of its techniques, on the same
network, images and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from options import images
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from methods.masks import keep_largest
from orchestrator.engine import nets
from orchestrator.engine.data import Batches, DataSet
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.setting import Setting
from orchestrator.engine.train import Trainer
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


@dataclass
class Contest:
    """A network, its data, and its masks by parameter name."""

    setting: Setting
    data: DataSet
    masks: dict[str, torch.Tensor]
    device: torch.device

    seed: int

    def net(self) -> nn.Module:
        """The network as the seed draws it, its removed weights zero."""
        net = nets.build(self.setting.model, len(self.data.classes), self.data.shape, seed=self.seed)
        with torch.no_grad():
            for name, mask in self.masks.items():
                net.get_parameter(name).mul_(mask)
        return net


def contest(chosen: Mapping[str, Any], root: str | None, device: torch.device, seed: int = 0) -> Contest:
    """One such as those of NETS, with its data; `recipe`, if it has one: what is not as train.py has it."""
    augmentation = {} if "data" in chosen else {"crop": 4, "flip": True}
    own = {"epochs": 1000, "batch": chosen["batch"], "lr": 0.01, "weight_decay": 5e-4, "augmentation": augmentation}
    data = {**chosen.get("data", images(root)), "validation": 0}
    recipe = {**own, **chosen.get("recipe", {})}
    spec = Spec.model_validate(
        {"name": "train", "data": data, "model": chosen["model"], "recipe": recipe, "methods": ["dense"]}
    )
    setting = Setting(spec, spec.model[0])
    source = torch.Generator().manual_seed(seed)
    scores = {layer.parameter: torch.rand(layer.shape, generator=source) for layer in setting.layers}
    kept = round(DENSITY * sum(score.numel() for score in scores.values()))
    return Contest(setting, setting.data, keep_largest(scores, kept), device, seed)


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
    """Jackpot's trainer; `without`: one of TECHNIQUES that it does without."""

    def __init__(self, contest: Contest, precision: str, compiled: bool, without: str = "") -> None:
        changes = {
            "precision": "float32" if without == "bfloat16" else precision,
            "compile": compiled and without != "compile",
        }
        recipe = contest.setting.spec.recipe.model_copy(update=changes)
        net = placed(contest.net(), contest.device, contest.data.shape, trains=True)
        nchw = without == "channels_last"
        if nchw:
            net = contest.net().to(contest.device)
        self.batches = Batches(contest.data, recipe.augmentation, contest.device, channels_last=not nchw)
        kind = EachLoss if without == "losses looked at together" else Trainer
        self.trainer = kind(net, self.batches, len(contest.data.train.labels), recipe, contest.seed, 0, contest.masks)
        if without == "masks at once":
            self.trainer.masking.mask_gradients = partial(_mask_one_by_one, self.trainer)  # type: ignore[method-assign]
        if without == "fused optimiser":
            for group in self.trainer.optimiser.param_groups:
                group |= {"fused": False, "foreach": False}
        if without == "images on the GPU":
            self.batches._resident = {}

    def run(self, steps: int) -> None:
        """Train so many steps, and wait for them."""
        self.trainer.run(self.trainer.progress.step + steps)

    def compile_seconds(self) -> float:
        """What compiling has taken."""
        return self.trainer.compiled.seconds if self.trainer.compiled else 0.0

    def make_batches(self, count: int) -> None:
        """The images of so many steps, and nothing else."""
        size = self.trainer.recipe.batch
        order = self.batches.order(torch.Generator().manual_seed(0))
        plan = ((order[:size], torch.Generator().manual_seed(step)) for step in range(count))
        for _ in self.batches.training(plan):
            pass
        if self.batches.device.type == "cuda":
            torch.cuda.synchronize()


class EachLoss(Trainer):
    """Looks at the loss of every step before the next."""

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        super()._step(images, labels)
        self._settle()


def _mask_one_by_one(trainer: Trainer) -> None:
    for name, parameter in trainer.masking.parameters.items():
        assert parameter.grad is not None
        parameter.grad.mul_(trainer.masking.factors[name])


KINDS: dict[str, Callable[[Contest], Plain | Ours]] = {
    "plain": Plain,
    "float32": partial(Ours, precision="float32", compiled=False),
    "bfloat16": partial(Ours, precision="bfloat16", compiled=False),
    "float32, compiled": partial(Ours, precision="float32", compiled=True),
    "bfloat16, compiled": partial(Ours, precision="bfloat16", compiled=True),
}
FULL = "bfloat16, compiled"
TECHNIQUES = (
    "compile", "bfloat16", "channels_last", "fused optimiser", "masks at once", "losses looked at together",
    "huge pages", "images on the GPU",
)  # fmt: skip
"""What the full trainer can do without; on a CPU the last makes no difference and is left out."""
