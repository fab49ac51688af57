"""Sizes of tickets: what is counted by hand, and that the sparse encoding holds every bit of the weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from methods.layers import prunable_layers
from methods.masks import keep_largest
from orchestrator.engine.nets import build
from orchestrator.engine.sizes import decode, encode, ticket_sizes
from orchestrator.spec.models import Model

Tensors = dict[str, torch.Tensor]


def header_of(encoded: bytes) -> dict:
    return json.loads(encoded[8 : 8 + int.from_bytes(encoded[:8], "little")])


def parts_of(encoded: bytes) -> dict[str, tuple[str, int]]:
    """Name -> type and bytes of each tensor in a safetensors file."""
    header = header_of(encoded)
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["data_offsets"][1] - e["data_offsets"][0]) for name, e in header.items()}


def a_ticket(rows: int, columns: int, keep: int, dtype: torch.dtype = torch.float32) -> tuple[Tensors, Tensors]:
    draw = torch.Generator().manual_seed(rows * columns + keep)
    mask = torch.zeros(rows * columns, dtype=torch.bool)
    mask[torch.randperm(rows * columns, generator=draw)[:keep]] = True
    mask = mask.reshape(rows, columns)
    return {"fc.weight": torch.randn(rows, columns, generator=draw).to(dtype) * mask}, {"fc": mask}


def same(left: Tensors, right: Tensors) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_bits_by_hand() -> None:
    """20 x 50 float32, 200 kept: 800 bytes of values, 1,000 bits in 125 bytes; rows would take 20 + 200."""
    weights, masks = a_ticket(20, 50, 200)
    encoded = encode(weights, masks)
    assert parts_of(encoded) == {"fc.weight/values": ("F32", 800), "fc.weight/bits": ("U8", 125)}
    assert header_of(encoded)["__metadata__"] == {"fc.weight": "[20, 50]"}
    assert same(decode(encoded), weights)


def test_rows_by_hand() -> None:
    """64 x 2,048 float32, 64 kept: columns need 16 bits, counts 8; bits would take 16,384 bytes."""
    weights, masks = a_ticket(64, 2048, 64)
    encoded = encode(weights, masks)
    assert parts_of(encoded) == {
        "fc.weight/values": ("F32", 256), "fc.weight/counts": ("U8", 64), "fc.weight/columns": ("U16", 128),
    }  # fmt: skip
    assert same(decode(encoded), weights)


def test_what_gains_nothing_stays_dense() -> None:
    weights, masks = a_ticket(20, 50, 1000)
    assert parts_of(encode(weights, masks)) == {"fc.weight": ("F32", 4000)}
    assert encode(weights, masks) == encode(weights, {})
    found = ticket_sizes(weights, masks)
    assert found["dense"] == found["sparse"]


@pytest.mark.parametrize("keep", [0, 1, 5, 200, 990])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("columns", [1, 50, 300, 70_000])
def test_every_bit_comes_back(keep: int, dtype: torch.dtype, columns: int) -> None:
    rows = 1000 // columns + 1
    weights, masks = a_ticket(rows, columns, min(keep, rows * columns), dtype)
    weights["bias"] = torch.arange(rows)
    assert same(decode(encode(weights, masks)), weights)


def test_kept_zeros_are_told_from_removed_ones() -> None:
    weights, masks = a_ticket(20, 50, 200)
    weights["fc.weight"].view(-1)[masks["fc"].view(-1).nonzero()[3]] = -0.0
    encoded = encode(weights, masks)
    assert parts_of(encoded)["fc.weight/values"] == ("F32", 800)
    found = decode(encoded)["fc.weight"]
    assert torch.equal(
        found.signbit() & (found == 0), weights["fc.weight"].signbit() & (weights["fc.weight"] == 0) & masks["fc"]
    )


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
def test_sizes_are_those_of_files(sparsity: float, tmp_path: Path) -> None:
    net = build(Model(name="resnet8"), 10, (3, 32, 32), 0).to(memory_format=torch.channels_last)
    layers = prunable_layers(net)
    state = net.state_dict()
    total = sum(layer.weights for layer in layers)
    masks = keep_largest({each.name: state[each.parameter].abs() for each in layers}, total - round(sparsity * total))
    weights = {name: value.clone() for name, value in state.items()}
    for layer in layers:
        weights[layer.parameter] *= masks[layer.name]
    found = ticket_sizes(weights, masks)
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "dense.safetensors")
    encoded = encode(weights, masks)
    assert found["dense"] == (tmp_path / "dense.safetensors").stat().st_size
    assert found["sparse"] == len(encoded)
    assert found["compressed"] == len(zlib.compress(encoded, 1)) < found["sparse"]
    assert same(decode(encoded), weights)
    # four bytes a kept weight and at most a bit a weight for its place, and what is dense: 2 % for the header
    dense_parts = sum(value.nbytes for name, value in weights.items()) - 4 * total
    least = 4 * (total - round(sparsity * total)) + dense_parts
    assert least < found["sparse"] < 1.02 * found["dense"] * (1 - sparsity) + total / 8 + dense_parts + 6000
    if sparsity:
        assert found["sparse"] < found["dense"]


@pytest.mark.parametrize(("layer", "message"), [("conv", "not in the state dict"), ("fc", r"of shape \(20, 50\)")])
def test_a_mask_that_fits_nothing_is_refused(layer: str, message: str) -> None:
    weights, _ = a_ticket(20, 50, 200)
    with pytest.raises(ValueError, match=rf"the mask of layer '{layer}' has shape \(2, 2\); its weight is {message}"):
        encode(weights, {layer: torch.ones(2, 2, dtype=torch.bool)})
