"""The formula behind inputs and weights (see ../README.md), layers on weights by name, and golden files."""

import math
import struct

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

SALT = "public"


def _fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def unit(name, count):
    """Values in [0, 1) by name and flat index."""
    with np.errstate(over="ignore"):
        x = np.uint64(_fnv1a64(name)) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / 2**24


def tensor(name, shape, low, high):
    """An input, rounded to f32."""
    values = low + (high - low) * unit(name, math.prod(shape))
    return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)


def entry(name, shape):
    """A state-dict entry, rounded to f32."""
    u = unit(name, math.prod(shape))
    part = name.rsplit(".", 1)[-1]
    if part == "running_var" or (part == "weight" and len(shape) == 1):
        values = 0.5 + u
    elif part in ("running_mean", "bias"):
        values = 0.4 * (u - 0.5)
    else:
        values = (2 * u - 1) * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)


class Weights(dict):
    """Entries by name, made where a layer first asks for them. All in float64."""

    def get(self, name, shape):
        if name not in self:
            self[name] = entry(name, tuple(shape))
        return self[name]

    def conv(self, name, x, output, size, stride=1, dilation=1, bias=False):
        kernel = self.get(f"{name}.weight", (output, x.shape[1], size, size))
        offset = self.get(f"{name}.bias", (output,)) if bias else None
        return F.conv2d(x, kernel, offset, stride, (size - 1) // 2 * dilation, dilation)

    def norm(self, name, x):
        """Batch norm on running statistics."""
        parts = [self.get(f"{name}.{part}", (x.shape[1],)) for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    def count(self):
        """Values that may train."""
        return sum(v.numel() for k, v in self.items() if "running" not in k)


def save(path, tensors, metadata):
    tensors = {name: t.detach().numpy().astype(np.float32) for name, t in tensors.items()}
    save_file(tensors, path, {key: str(value) for key, value in metadata.items()})
    print(path, {name: t.shape for name, t in tensors.items()})


def read(path):
    """Header of a golden file."""
    import json

    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
