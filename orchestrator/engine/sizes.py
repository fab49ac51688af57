"""How large a ticket's file is: dense, with only the weights it keeps, and compressed."""

from __future__ import annotations

import json
import zlib

import numpy as np
import safetensors.torch
import torch

from methods.bench import Tensors
from orchestrator.engine.store import to_bytes

LEVEL = 1
"""Of zlib. Level 6 gains 1 % and takes three times as long: the values kept hardly compress at any level."""
ENTRY = 80
"""About how many bytes of a safetensors header one more tensor costs."""


def ticket_sizes(weights: Tensors, masks: Tensors) -> dict[str, int]:
    """Bytes of a ticket as a file, each measured on the file's real content, headers included.

    `dense`: the state dict as safetensors. `sparse`: what `encode` makes of it. `compressed`: that, by zlib at level
    1, which is smaller than the dense file by zlib (vgg19 at 90 %: 8.4 against 21.7 MB) and made in a third of the
    time. `weights`: a state dict; `masks`: bool by layer name. Raises ValueError where a mask does not fit its
    weight."""
    encoded = encode(weights, masks)
    return {
        "dense": len(to_bytes(weights)),
        "sparse": len(encoded),
        "compressed": len(zlib.compress(encoded, LEVEL)),
    }


def encode(weights: Tensors, masks: Tensors) -> bytes:
    """The state dict as a safetensors file in which a masked weight NAME is told by the values it keeps in order,
    NAME/values, and by where they stand, whichever of these is smaller:

    - NAME/bits: a bit a weight, 1 is kept, from the highest bit of a byte to the lowest;
    - NAME/counts and NAME/columns: compressed sparse rows of the weight as a matrix (first dimension x all others):
      how many weights each row keeps and their columns, both in the smallest unsigned integer that holds them.

    The file's metadata holds the shape of each such weight. A weight that is smaller with all its values stays as it
    is, and so does what has no mask. Raises ValueError where a mask does not fit its weight."""
    parts, shapes = dict(weights), {}
    for layer, mask in masks.items():
        name = f"{layer}.weight" if layer else "weight"
        value = weights.get(name)
        if value is None or value.shape != mask.shape:
            found = "not in the state dict" if value is None else f"of shape {tuple(value.shape)}"
            raise ValueError(f"the mask of layer {layer!r} has shape {tuple(mask.shape)}; its weight is {found}")
        kept = {f"{name}/values": value[mask]} | _positions(name, mask.cpu().numpy())
        if _bytes(kept) + (len(kept) - 1) * ENTRY < _bytes({name: value}):
            del parts[name]
            parts |= kept
            shapes[name] = json.dumps(list(value.shape))
    return to_bytes(parts, shapes or None)


def decode(encoded: bytes) -> Tensors:
    """The state dict that `encode` was given, removed weights zero."""
    header = json.loads(encoded[8 : 8 + int.from_bytes(encoded[:8], "little")])
    weights = safetensors.torch.load(encoded)
    for name, text in header.get("__metadata__", {}).items():
        shape = json.loads(text)
        mask = _mask(name, shape, weights)
        values = weights.pop(f"{name}/values")
        weights[name] = values.new_zeros(shape).masked_scatter_(mask, values)
    return weights


def _positions(name: str, mask: np.ndarray) -> Tensors:
    """Where a mask is True, in the smaller of the two ways."""
    rows = mask.reshape(len(mask), -1)
    counts, columns = rows.sum(1), rows.nonzero()[1]
    sparse_rows = {f"{name}/counts": _smallest(counts), f"{name}/columns": _smallest(columns)}
    bits = {f"{name}/bits": torch.from_numpy(np.packbits(mask))}
    return sparse_rows if _bytes(sparse_rows) + ENTRY < _bytes(bits) else bits


def _mask(name: str, shape: list[int], parts: Tensors) -> torch.Tensor:
    """The mask that `_positions` was given; takes its tensors out of `parts`."""
    bits = parts.pop(f"{name}/bits", None)
    if bits is not None:
        flat = np.unpackbits(bits.numpy(), count=int(np.prod(shape)))
    else:
        counts, columns = (parts.pop(f"{name}/{part}").numpy().astype(np.int64) for part in ("counts", "columns"))
        width = int(np.prod(shape[1:]))
        flat = np.zeros(shape[0] * width, np.uint8)
        flat[np.repeat(np.arange(shape[0]), counts) * width + columns] = 1
    return torch.from_numpy(flat.astype(bool).reshape(shape))


def _smallest(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.min_scalar_type(int(values.max(initial=0)))))


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
