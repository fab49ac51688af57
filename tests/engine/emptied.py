"""Networks whose weights are partly zero, as masks leave them, and whose channels without weights are not zero."""

import torch

from methods.layers import prunable_layers
from orchestrator.engine.compact import compacted
from orchestrator.engine.seeds import generator

SPARSITIES = (0.5, 0.9, 0.98, 0.995)


def lively(net, seed=0):
    """Biases, statistics and factors of all normalisations drawn anew, and a classifier that is not zero."""
    draw = generator(seed, "lively")
    with torch.no_grad():
        for module in net.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name.endswith("bias"):
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
                elif parameter.dim() == 1:
                    parameter.copy_(0.5 + torch.rand(parameter.shape, generator=draw))
                elif not parameter.any():
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
            for name, buffer in module.named_buffers(recurse=False):
                if name == "running_mean":
                    buffer.copy_(0.2 * torch.randn(buffer.shape, generator=draw))
                elif name == "running_var":
                    buffer.copy_(0.5 + torch.rand(buffer.shape, generator=draw))
    return net.eval()


def mask(net, sparsities, seed=0, kill=0.0):
    """Set weights of the prunable layers to zero, in each layer a share drawn from `sparsities`, and whole filters with
    probability `kill`. What stays is made larger, as training would, so that signals do not fade."""
    draw = generator(seed, "mask")
    with torch.no_grad():
        for layer in prunable_layers(net):
            weight = net.get_parameter(layer.parameter)
            sparsity = sparsities[int(torch.randint(len(sparsities), (), generator=draw))]
            keep = torch.rand(weight.shape, generator=draw) >= sparsity
            alive = torch.rand(len(weight), *[1] * (weight.dim() - 1), generator=draw) >= kill
            if not layer.classifier:
                keep &= alive
            weight.mul_(keep)
            weight.mul_(1 / max(0.01, keep.float().mean().item()) ** 0.5)
    return net


def the_same(net, shape, seed=0):
    """What `compacted` makes of a network, which is to give the same logits to 1e-5 of the largest."""
    before = {name: value.clone() for name, value in net.state_dict().items()}
    made = compacted(net, shape)
    for count in (1, 3):
        images = torch.randn(count, *shape, generator=generator(seed, "images", count))
        with torch.no_grad():
            wanted, found = net(images), made.net(images)
        assert found.shape == wanted.shape
        largest = wanted.abs().max()
        assert torch.isfinite(largest)
        assert (found - wanted).abs().max() <= 1e-5 * largest
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    return made
