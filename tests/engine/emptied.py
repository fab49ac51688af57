"""Networks whose weights are partly zero, as masks leave them, and whose channels without weights are not zero."""

import copy

import torch
from torch import nn

from methods.layers import prunable_layers
from orchestrator.engine.compact import compacted
from orchestrator.engine.seeds import generator

SPARSITIES = (0.5, 0.9, 0.98, 0.995)


def lively(net, shape, seed=0):
    """A masked network with biases, factors and statistics as after training, so that channels without weights are
    not zero, and signals neither fade nor grow: batch norms have roughly the statistics of random images."""
    draw = generator(seed, "lively")
    with torch.no_grad():
        for module in net.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name.endswith("bias"):
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
                elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                    parameter.copy_(0.5 + torch.rand(parameter.shape, generator=draw))
                elif not parameter.any():
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
        net.eval()
        norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        for module in norms:
            module.train()
            module.momentum = 1.0
        net(torch.randn(4, *shape, generator=draw))
        for module in norms:
            spread = module.running_var.clamp_(min=1e-3).sqrt()
            module.running_mean += 0.1 * spread * torch.randn(spread.shape, generator=draw)
    return net.eval()


def mask(net, sparsities, seed=0, kill=0.0, least=0):
    """Set weights of the prunable layers to zero: in each layer a share drawn from `sparsities`, but of an average
    filter no more than all but `least`; and whole filters with probability `kill`. What stays is made larger, as
    training would."""
    draw = generator(seed, "mask")
    with torch.no_grad():
        for layer in prunable_layers(net):
            weight = net.get_parameter(layer.parameter)
            sparsity = sparsities[int(torch.randint(len(sparsities), (), generator=draw))]
            sparsity = min(sparsity, max(0.0, 1 - least * len(weight) / weight.numel()))
            keep = torch.rand(weight.shape, generator=draw) >= sparsity
            alive = torch.rand(len(weight), *[1] * (weight.dim() - 1), generator=draw) >= kill
            if not layer.classifier:
                keep &= alive
            weight.mul_(keep)
            weight.mul_(1 / max(0.01, keep.float().mean().item()) ** 0.5)
    return net


def the_same(net, shape, varied=False):
    """What `compacted` makes of a network. It is to give the same logits to 1e-5 of the largest in float64; in float32
    too, but for twice what rounding takes from the network itself. `varied`: and logits are to differ from image to
    image by much more, so that it matters what is computed."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    made = compacted(net, shape)
    exact, exactly_made = (copy.deepcopy(each).double() for each in (net, made.net))
    for count in (1, 3):
        images = torch.randn(count, *shape, generator=generator(0, "images", count))
        with torch.no_grad():
            right, wanted, found = exact(images.double()), net(images), made.net(images)
            assert torch.isfinite(right).all()
            assert found.shape == right.shape
            largest = right.abs().max()
            assert (exactly_made(images.double()) - right).abs().max() <= 1e-5 * largest
            rounding = (wanted - right).abs().max()
            assert (found - wanted).abs().max() <= 1e-5 * largest + 2 * rounding
            assert not varied or count == 1 or (right[0] - right[1]).abs().max() > 1e-3 * largest
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    return made
