"""Unary energies and features for :mod:`weakseg.densecrf`, with the names and results of ``pydensecrf.utils``."""

from __future__ import annotations

from logging import warning
from numbers import Number
from typing import Any, Optional, Sequence, Union

import numpy as np

__all__ = [
    "compute_unary",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "softmax_to_unary",
    "unary_from_labels",
    "unary_from_softmax",
]


def unary_from_labels(labels: Any, n_labels: int, gt_prob: float, zero_unsure: bool = True) -> np.ndarray:
    """Energies [n_labels, points], float32, of labels of any shape that are right with probability ``gt_prob``.

    With ``zero_unsure``, 0 stands for a point that nobody labelled, and the labels 1 to ``n_labels`` are rows 0 on.
    Labels beyond these are an ``IndexError``.
    """
    assert 0 < gt_prob < 1, "`gt_prob must be in (0,1)."
    flat = np.asarray(labels).ravel()
    other = -np.log((1.0 - gt_prob) / (n_labels - 1))
    unary = np.full((n_labels, flat.size), other, dtype=np.float32)
    # A label of a small unsigned type must not wrap around below zero.
    rows = flat.astype(np.int64) if flat.dtype.kind in "bu" else flat
    if zero_unsure:
        rows = rows - 1
    lowest = -1 if zero_unsure else 0
    if flat.size and rows.min() < lowest:
        raise IndexError(f"a label of {rows.min() + (1 if zero_unsure else 0)}: labels are not negative")
    unary[rows, np.arange(flat.size)] = -np.log(gt_prob)
    if zero_unsure:
        unary[:, flat == 0] = -np.log(1.0 / n_labels)
    return unary


def compute_unary(labels: Any, M: int, GT_PROB: float = 0.5) -> np.ndarray:
    """Deprecated: :func:`unary_from_labels`."""
    warning("compute_unary is deprecated, use unary_from_labels instead.")
    return unary_from_labels(labels, M, GT_PROB)


def unary_from_softmax(sm: np.ndarray, scale: Optional[float] = None, clip: Optional[float] = 1e-5) -> np.ndarray:
    """Energies [classes, points], float32, of probabilities ``sm`` [classes, ...].

    ``scale`` in (0, 1] mixes them with the uniform distribution, of which they keep that share. ``clip`` is the least
    that a probability counts as, so that no energy is infinite.
    """
    classes = sm.shape[0]
    if scale is not None:
        assert 0 < scale <= 1, "`scale` needs to be in (0,1]"
        sm = scale * sm + (1 - scale) * (np.ones(sm.shape) / classes)
    if clip is not None:
        sm = np.clip(sm, clip, 1.0)
    energies: np.ndarray = -np.log(sm).reshape([classes, -1]).astype(np.float32)
    return energies


def softmax_to_unary(sm: np.ndarray, GT_PROB: float = 1) -> np.ndarray:
    """Deprecated: :func:`unary_from_softmax`, without clipping."""
    warning("softmax_to_unary is deprecated, use unary_from_softmax instead.")
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def _grid(shape: Sequence[int], deviations: Sequence[float]) -> np.ndarray:
    """The coordinates [axes, *shape] of a grid over their deviations, the first axis first."""
    grid = np.indices(tuple(shape)).astype(np.float32)
    for axis, deviation in enumerate(deviations):
        grid[axis] /= deviation
    return grid


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> np.ndarray:
    """Features [axes, points], float32, for ``addPairwiseEnergy``: the coordinates of a grid of any number of axes, over
    their standard deviations ``sdims``. Axes are those of the array, so (sy, sx) for an image [h, w]."""
    return _grid(shape, sdims).reshape([len(sdims), -1])


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: Union[float, Sequence[float]], img: np.ndarray, chdim: int = -1
) -> np.ndarray:
    """Features [axes + channels, points], float32, for ``addPairwiseEnergy``: the coordinates of an image of any number
    of axes over ``sdims``, then its channels over ``schan``, one number or one for each. ``chdim`` is the axis of the
    channels; -1 stands for an image without one."""
    channels = np.asarray(img)[np.newaxis] if chdim == -1 else np.moveaxis(np.asarray(img), chdim, 0)
    channels = channels.astype(np.float32)
    if isinstance(schan, Number):
        channels /= schan
    else:
        for channel, deviation in enumerate(schan):  # type: ignore[arg-type]
            channels[channel] /= deviation
    features = np.concatenate([_grid(channels.shape[1:], sdims), channels])
    return features.reshape([features.shape[0], -1])
