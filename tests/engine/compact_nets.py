"""Networks of a few weights, with channels that zeros have emptied."""

import torch
from torch import nn


def conv(weights, bias=None, **options):
    """A convolution of given weights (O, I, H, W)."""
    weights = torch.tensor(weights, dtype=torch.float32)
    made = nn.Conv2d(
        weights.shape[1] * options.get("groups", 1), len(weights), weights.shape[2:], bias=bias is not None, **options
    )
    made.weight.data = weights
    if bias is not None:
        made.bias.data = torch.tensor(bias, dtype=torch.float32)
    return made


def points(*rows, bias=None, **options):
    """A 1x1 convolution of these rows of weights."""
    return conv([[[[weight]] for weight in row] for row in rows], bias, **options)


def norm(*betas):
    """A batch norm that adds these."""
    made = nn.BatchNorm2d(len(betas))
    made.bias.data = torch.tensor(betas)
    return made


def linear(*rows, bias=None):
    made = nn.Linear(len(rows[0]), len(rows), bias=bias is not None)
    made.weight.data = torch.tensor(rows, dtype=torch.float32)
    if bias is not None:
        made.bias.data = torch.tensor(bias, dtype=torch.float32)
    return made


class Steps(nn.Module):
    """Modules by name, and what is to be done with them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.step = forward
        for name, module in modules.items():
            self.add_module(name, module)
        self.eval()

    def forward(self, x):
        return self.step(self, x)


def plain(**modules):
    """Modules one after the other."""

    def forward(self, x):
        for name in modules:
            x = getattr(self, name)(x)
        return x

    return Steps(forward, **modules)


def tensors(made, part):
    return [value for name, value in made.net.state_dict().items() if part in name]


ONES, ZEROS = [[1.0] * 3] * 3, [[0.0] * 3] * 3


def emptied_before(last):
    """The second of two filters is empty; after its batch norm and ReLU it is 2 everywhere."""
    return plain(first=points([1], [0]), bn=norm(0.5, 2.0), relu=nn.ReLU(), last=last)
