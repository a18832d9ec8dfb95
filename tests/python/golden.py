"""Writes tests/data/pydensecrf.npz: what pydensecrf gives for small configurations, for `cargo test`.

    python tests/python/golden.py

The features of all kinds of kernels are stored, so that a reader needs to know only ``addPairwiseEnergy``.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pydensecrf.densecrf as dcrf
from configurations import NORMALIZATIONS, configuration, results


def features(case, kernel):
    width, height = case["size"]
    if kernel["kind"] == "energy":
        return kernel["features"]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    sx, sy = np.float32(kernel["sxy"])
    planes = [x / sx, y / sy]
    if kernel["kind"] == "bilateral":
        planes += [case["image"][..., c] / np.float32(kernel["srgb"][c]) for c in range(3)]
    return np.array(planes, np.float32).reshape(len(planes), -1)


def main():
    arrays = {}
    for i in range(12):
        case = configuration(i, largest=16)
        posterior, _, divergence = results(dcrf, case)
        width, height = case["size"]
        labels, kernels = case["labels"], case["kernels"]
        sizes = [labels, width * height, case["iterations"], len(kernels)]
        arrays[f"{i}_sizes"] = np.array(sizes, np.float32)
        arrays[f"{i}_unary"] = case["unary"]
        arrays[f"{i}_posterior"] = np.ascontiguousarray(posterior)
        arrays[f"{i}_divergence"] = np.array([divergence], np.float64)
        for k, kernel in enumerate(kernels):
            compat = np.asarray(kernel["compat"], np.float32)
            arrays[f"{i}_{k}_features"] = features(case, kernel)
            arrays[f"{i}_{k}_compat"] = np.diag(compat) if compat.ndim == 1 else np.atleast_2d(compat)
            arrays[f"{i}_{k}_normalization"] = np.array([NORMALIZATIONS.index(kernel["normalization"])], np.float32)
    path = pathlib.Path(__file__).parents[1] / "data" / "pydensecrf.npz"
    np.savez(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
