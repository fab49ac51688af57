"""Who trains in train.py: a plain loop and Jackpot's trainer, on the same network, images and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
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
