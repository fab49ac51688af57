"""A structurally pruned network, rebuilt from the network it was and the shapes of the weights it has left."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from orchestrator.engine.nets.copies import with_zeros

Shapes = dict[str, torch.Size]
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
SHOWN = 5


def fitted(net: nn.Module, weights: Mapping[str, torch.Tensor], shape: tuple[int, int, int] | None = None) -> nn.Module:
    """A copy of `net` in the shape of a state dict: convolutions, linear maps and normalisation have the channels
    that their weights have there, and a module that has parameters or buffers in `net` and none in the weights is
    nn.Identity (the outermost such module: a whole block, where all of it is gone). Only shapes are read; the caller
    loads the values. Tensors whose shape changed are zero, on their device, also the meta device.

    The number of groups of a grouped convolution is not in its weight's shape. It is taken such that the layer's
    inputs are what the layer before puts out, else such that inputs and outputs keep their ratio: a depthwise one
    stays depthwise.

    `shape`: that of an image (C, H, W); if given, a forward pass on the CPU proves that the layers fit each other,
    which shapes alone cannot.

    Raises ValueError naming what cannot be made to fit: names that the network has not, tensors missing from a
    module that is there, shapes that contradict each other, kernels of another size, kinds of modules whose shape
    cannot change."""
    wanted = {name: tensor.shape for name, tensor in weights.items()}
    present = net.state_dict().keys()
    if unexpected := [name for name in wanted if name not in present]:
        raise ValueError(f"the weights hold {_listed(unexpected)}, which the network has not")
    if present and not wanted:
        raise ValueError("the weights are empty")
    removed = _removed(present, wanted)
    if missing := [name for name in present if name not in wanted and not _within(name, removed)]:
        raise ValueError(f"the weights lack {_listed(missing)}, and hold other tensors of the same modules")
    made = copy.deepcopy(net)
    tied = _tied(made)
    for name in removed:
        made.set_submodule(name, nn.Identity())
    if removed:
        _not_in_place(made)
    before = None
    for name, module in made.named_modules():
        own = {key: wanted[_join(name, key)] for key in _own(module)}
        if own:
            before = _resize(module, own, before)
    _tie(made, tied)
    _check(made, wanted)
    if shape is not None:
        _try(made, shape)
    return made


def structure_of(net_or_weights: nn.Module | Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    """The structure of a network as JSON: the shape of every tensor of its state dict, by name. What was removed is
    what is not in it. With the network it was (`fitted`) it says all: two tickets of one network with equal
    structures differ in nothing but values, so that one latency holds for both, and a masked ticket has the
    structure of the dense network."""
    weights = net_or_weights.state_dict() if isinstance(net_or_weights, nn.Module) else net_or_weights
    return {name: list(weights[name].shape) for name in sorted(weights)}


def _removed(present: Iterable[str], wanted: Shapes) -> list[str]:
    """The outermost modules that have tensors in the network and none in the weights."""
    kept = {path for name in wanted for path in _ancestors(name)}
    gone = dict.fromkeys(path for name in present for path in _ancestors(name) if path not in kept)
    return [path for path in gone if path.rpartition(".")[0] not in gone]


def _ancestors(name: str) -> list[str]:
    """The modules that a tensor lies in: of a.b.weight, a and a.b."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _within(name: str, removed: list[str]) -> bool:
    return any(path in removed for path in _ancestors(name))


def _not_in_place(net: nn.Module) -> None:
    """Have activations write to memory of their own: what one of them overwrites after a layer before it is gone may
    be what another's gradient is computed from (a ReLU's from its output)."""
    for module in net.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]


def _own(module: nn.Module) -> list[str]:
    """Names of the tensors that a module itself adds to the state dict."""
    return [name for name in module.state_dict() if "." not in name]


def _resize(module: nn.Module, own: Shapes, before: int | None) -> int | None:
    """Give a module of a known kind the channels of its weight. Returns how many channels it puts out; `before`: how
    many the layer before it does. What does not fit is left, and found by `_check`."""
    weight = own.get("weight", own.get("running_mean"))
    sizes: Shapes = {}
    if weight is None:
        return before
    if isinstance(module, Convolution) and len(weight) == module.weight.dim() and _regroup(module, weight, before):
        sizes = {"weight": torch.Size(weight[:2] + module.weight.shape[2:]), "bias": torch.Size(weight[:1])}
    elif isinstance(module, nn.Linear) and len(weight) == 2:
        module.out_features, module.in_features = weight
        sizes = {"weight": weight, "bias": torch.Size(weight[:1])}
    elif isinstance(module, Norm) and len(weight) == 1:
        module.num_features = weight[0]
        sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), weight)
    elif isinstance(module, nn.LayerNorm) and len(weight) == len(module.normalized_shape):
        module.normalized_shape = tuple(weight)
        sizes = {"weight": weight, "bias": weight}
    elif isinstance(module, nn.GroupNorm) and len(weight) == 1 and not weight[0] % module.num_groups:
        module.num_channels = weight[0]
        sizes = {"weight": weight, "bias": weight}
    else:
        return before
    for name in own.keys() & sizes.keys():
        old = getattr(module, name)
        if old.shape != sizes[name]:
            new = _zeros_like(old, sizes[name])
            setattr(module, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    return weight[0]


def _regroup(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, weight: torch.Size, before: int | None) -> bool:
    """Set groups and channels from the shape (outputs, inputs a group, ...) of a weight. False where none fit."""
    outputs, each = weight[:2]
    choices = [module.groups]
    if module.groups > 1:
        scaled, rest = divmod(outputs * module.in_channels, module.out_channels * each)
        choices = [*([] if rest else [scaled]), module.groups]
    fit = [groups for groups in choices if groups and not outputs % groups]
    groups = next((groups for groups in fit if groups * each == before), fit[0] if fit else 0)
    if groups:
        module.groups, module.in_channels, module.out_channels = groups, groups * each, outputs
    return groups > 0


def _zeros_like(old: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Zeros on the device and in the memory format of `old`."""
    new = old.new_zeros(size)
    plain = torch.empty_like(old, device="meta", memory_format=torch.contiguous_format)
    # by strides: a 1x1 convolution's weight is contiguous in both formats, and its strides choose the kernel
    return new if old.stride() == plain.stride() or old.dim() != 4 else new.to(memory_format=torch.channels_last)


def _tied(net: nn.Module) -> list[list[str]]:
    """Names of parameters that are one and the same."""
    names: dict[int, list[str]] = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [each for each in names.values() if len(each) > 1]


def _tie(net: nn.Module, tied: list[list[str]]) -> None:
    left = dict(net.named_parameters(remove_duplicate=False))
    for names in tied:
        first, *others = [name for name in names if name in left] or [""]
        for name in others:
            path, _, own = name.rpartition(".")
            setattr(net.get_submodule(path), own, left[first])


def _check(net: nn.Module, wanted: Shapes) -> None:
    """Raise ValueError for what has not got the shape of the weights."""
    faults = []
    for name, tensor in net.state_dict().items():
        if tensor.shape != wanted[name]:
            module = net.get_submodule(name.rpartition(".")[0])
            faults.append(
                f"{name} is {tuple(wanted[name])}, and its {type(module).__name__} can be made {tuple(tensor.shape)}"
            )
    if faults:
        raise ValueError(f"shapes of the weights do not go together: {'; '.join(faults[:SHOWN])}{_more(faults)}")


def _try(net: nn.Module, shape: tuple[int, int, int]) -> None:
    """Run an image of zeros through a copy. Raises ValueError naming the layer at which that fails."""
    entered = []
    net = with_zeros(net).eval()
    for name, module in net.named_modules():
        if not any(module.children()):
            module.register_forward_pre_hook(lambda *_, name=name: entered.append(name))
    try:
        with torch.no_grad():
            net(torch.zeros(1, *shape))
    except Exception as error:  # whatever a network's forward raises
        place = f"at or after layer {entered[-1]!r}" if entered else "before the first layer"
        raise ValueError(f"the layers do not fit each other: {place}: {type(error).__name__}: {error}") from error


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _listed(names: list[str]) -> str:
    count = f" ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + count


def _more(faults: list[str]) -> str:
    return "; ..." if len(faults) > SHOWN else ""
