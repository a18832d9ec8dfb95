"""Random uses of pydensecrf's whole surface, and what they give by either module."""

from __future__ import annotations

import numpy as np

NORMALIZATIONS = ["NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC"]
KERNELS = ["CONST_KERNEL", "DIAG_KERNEL", "FULL_KERNEL"]


def _smooth(rng, shape, count):
    """``count`` smooth random planes with some noise, about -1 to 1."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    planes = []
    for _ in range(count):
        fx, fy, phase = rng.uniform(0.02, 0.3, 2).tolist() + [rng.uniform(0, 6)]
        planes.append(np.sin(fx * x + phase) * np.cos(fy * y) + 0.1 * rng.standard_normal(shape))
    return np.array(planes)


def _compat(rng, labels, weight):
    """A number, a vector or a matrix."""
    kind = rng.integers(3)
    if kind == 0:
        return float(weight)
    if kind == 1:
        return (-weight * rng.uniform(0.5, 1.5, labels)).astype(np.float32)
    costs = -weight * np.eye(labels) + 0.2 * weight * rng.standard_normal((labels, labels))
    return costs.astype(np.float32)


def configuration(seed, largest=120):
    """One CRF: unary energies, kernels and a number of iterations."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(largest // 4, largest, 2).tolist()
    labels = int(rng.integers(2, 31))
    image = np.clip(127 + 100 * _smooth(rng, (height, width), 3), 0, 255).astype(np.uint8)
    logits = 2 * _smooth(rng, (height, width), labels) + 0.3 * rng.standard_normal((labels, height, width))
    probabilities = np.exp(logits) / np.exp(logits).sum(0)
    unary = -np.log(np.clip(probabilities, 1e-5, 1)).reshape(labels, -1).astype(np.float32)
    kernels = []
    for _ in range(int(rng.integers(1, 4))):
        kind = ["gaussian", "bilateral", "energy"][rng.integers(3)]
        normalization = NORMALIZATIONS[rng.integers(4)]
        # Without normalisation a message is a sum over many pixels.
        weight = rng.uniform(0.3, 2.5)
        if normalization == "NO_NORMALIZATION":
            weight /= 1 + 0.02 * width * height
        kernel = {
            "kind": kind,
            "compat": _compat(rng, labels, weight),
            "kernel": KERNELS[rng.integers(3)],
            "normalization": normalization,
        }
        if kind == "gaussian":
            kernel["sxy"] = tuple(rng.uniform(1, 8, 2).tolist())
        elif kind == "bilateral":
            kernel["sxy"] = tuple((rng.uniform(0.05, 0.7, 2) * max(width, height)).tolist())
            kernel["srgb"] = tuple(rng.uniform(5, 30, 3).tolist())
        else:
            features = _smooth(rng, (height, width), int(rng.integers(1, 7)))
            deviations = rng.uniform(0.1, 0.5, len(features))[:, None, None]
            kernel["features"] = (features / deviations).reshape(len(features), -1).astype(np.float32)
        kernels.append(kernel)
    return {
        "size": (width, height),
        "labels": labels,
        "image": np.ascontiguousarray(image.transpose(1, 2, 0)),
        "unary": unary,
        "kernels": kernels,
        "iterations": int(rng.integers(0, 21)),
    }


def build(dcrf, case, **options):
    """The CRF of ``case`` by the module ``dcrf``."""
    width, height = case["size"]
    crf = dcrf.DenseCRF2D(width, height, case["labels"], **options)
    crf.setUnaryEnergy(case["unary"])
    for kernel in case["kernels"]:
        more = {
            "compat": kernel["compat"],
            "kernel": getattr(dcrf, kernel["kernel"]),
            "normalization": getattr(dcrf, kernel["normalization"]),
        }
        if kernel["kind"] == "gaussian":
            crf.addPairwiseGaussian(kernel["sxy"], **more)
        elif kernel["kind"] == "bilateral":
            crf.addPairwiseBilateral(kernel["sxy"], kernel["srgb"], case["image"], **more)
        else:
            crf.addPairwiseEnergy(kernel["features"], **more)
    return crf


def results(dcrf, case, **options):
    """The posterior [labels, points] and its divergence."""
    crf = build(dcrf, case, **options)
    posterior, tmp1, tmp2 = crf.startInference()
    for _ in range(case["iterations"]):
        crf.stepInference(posterior, tmp1, tmp2)
    return np.array(crf.inference(case["iterations"])), np.array(posterior), crf.klDivergence(posterior)
