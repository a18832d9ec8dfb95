"""The fully connected CRF of Krähenbühl and Koltun (2011), call by call as pydensecrf has it.

In a script, ``import pydensecrf.densecrf as dcrf`` becomes ``import weakseg.densecrf as dcrf``; nothing else changes.
Every constructor takes one more argument, ``device``: where to compute, ``"cpu"`` unless told otherwise.

What pydensecrf answers to bad arguments is answered here with the same kind of error. Where it crashes, reads beyond
its arrays or computes NaN, there is a ``ValueError`` with the reason.
"""

from __future__ import annotations

import operator
from enum import IntEnum
from numbers import Number
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from ._weakseg import Crf as _Crf

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NO_NORMALIZATION",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "ConstUnary",
    "DenseCRF",
    "DenseCRF2D",
    "KernelType",
    "LogisticUnary",
    "NormalizationType",
    "Unary",
]

#: A Potts weight, a vector of label weights or a symmetrised matrix of label costs.
Compat = Union[float, "np.ndarray"]


class KernelType(IntEnum):
    """What could be learnt of a kernel. Nothing is learnt here, and all three filter alike, as in pydensecrf."""

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


class NormalizationType(IntEnum):
    """What a kernel's messages are divided by: its filter of ones, before or after filtering, or its root on both sides."""

    NO_NORMALIZATION = 0
    NORMALIZE_BEFORE = 1
    NORMALIZE_AFTER = 2
    NORMALIZE_SYMMETRIC = 3


CONST_KERNEL = KernelType.CONST_KERNEL
DIAG_KERNEL = KernelType.DIAG_KERNEL
FULL_KERNEL = KernelType.FULL_KERNEL
NO_NORMALIZATION = NormalizationType.NO_NORMALIZATION
NORMALIZE_BEFORE = NormalizationType.NORMALIZE_BEFORE
NORMALIZE_AFTER = NormalizationType.NORMALIZE_AFTER
NORMALIZE_SYMMETRIC = NormalizationType.NORMALIZE_SYMMETRIC

#: Sizes are C ints in pydensecrf.
_MOST = 2**31 - 1


def _array(name: str, value: Any, dtype: type, ndim: int) -> np.ndarray:
    """``value`` as an array of its own memory, if it is a C-contiguous buffer of this type: nothing is converted."""
    if value is None:
        raise TypeError(f"Argument '{name}' must not be None")
    view = value if isinstance(value, np.ndarray) else np.asarray(memoryview(value))
    if view.ndim != ndim:
        raise ValueError(f"Buffer has wrong number of dimensions (expected {ndim}, got {view.ndim})")
    if view.dtype != dtype:
        wanted = "float" if dtype is np.float32 else "unsigned char"
        raise ValueError(f"Buffer dtype mismatch, expected '{wanted}' but got '{view.dtype}'")
    if not view.flags.c_contiguous:
        raise ValueError("ndarray is not C-contiguous")
    return view


def _filled(name: str, value: Any, dtype: type, ndim: int) -> np.ndarray:
    """As :func:`_array`, of one element at least."""
    array = _array(name, value, dtype, ndim)
    if array.size == 0:
        raise IndexError(f"Out of bounds on buffer access (axis {array.shape.index(0)})")
    return array


def _size(value: Any, least: int = 0) -> int:
    """A C int of ``least`` or more. A float may be one, as for Cython, which would cut it short where it is none."""
    number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    if not -_MOST - 1 <= number <= _MOST:
        raise OverflowError("value too large to convert to int")
    if number < least:
        raise ValueError(f"{number} is too small: use {least} or more")
    return number


def _compatibility(compat: Any, labels: int) -> Union[float, np.ndarray]:
    """A Potts weight, or a matrix [labels, labels] of costs."""
    if isinstance(compat, Number):
        return float(compat)  # type: ignore[arg-type]
    ndim = memoryview(compat).ndim
    if ndim > 2 or ndim == 0:
        raise ValueError("LabelCompatibility of dimension >2 not meaningful.")
    costs = _filled("compat", compat, np.float32, ndim)
    if any(length != labels for length in costs.shape):
        raise ValueError(f"Bad shape for compat (Need {(labels,) * ndim}, got {costs.shape})")
    if not np.isfinite(costs).all():
        raise ValueError("compat holds values that are not finite numbers")
    if labels == 1:
        # Numpy would take an array of one number for a number; a weight is a cost with the other sign.
        return -float(costs.flat[0])
    return np.ascontiguousarray(np.diag(costs) if ndim == 1 else costs)


def _deviations(value: Any, count: int) -> Tuple[float, ...]:
    """One number for all, or the first ``count`` of a sequence."""
    if isinstance(value, Number):
        return (float(value),) * count  # type: ignore[arg-type]
    return tuple(float(value[i]) for i in range(count))


def _posterior(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"Argument '{name}' has incorrect type (expected numpy.ndarray, got {type(value).__name__})")
    return value


class Unary:
    """Unary energies for :meth:`DenseCRF.setUnary`."""

    _values: np.ndarray


class ConstUnary(Unary):
    """Energies ``u`` [labels, points], float32."""

    def __init__(self, u: np.ndarray) -> None:
        self._values = _filled("u", u, np.float32, 2).copy()


class LogisticUnary(Unary):
    """Energies ``L @ f``: ``L`` [labels, features] times ``f`` [features, points], float32 both."""

    def __init__(self, L: np.ndarray, f: np.ndarray) -> None:
        weights, features = _filled("L", L, np.float32, 2), _filled("f", f, np.float32, 2)
        if weights.shape[1] != features.shape[0]:
            raise ValueError(f"Bad shape for f (Need ({weights.shape[1]}, ?), got {features.shape})")
        self._values = np.ascontiguousarray(weights @ features)


class DenseCRF:
    """A CRF over ``nvar`` points, each of which gets one of ``nlabels`` labels."""

    _crf: _Crf
    _nvar: int
    _nlabel: int

    def __new__(cls, nvar: int, nlabels: int, *_: Any, device: str = "cpu", **__: Any) -> "DenseCRF":
        self = super().__new__(cls)
        self._begin(_size(nvar), nlabels, device)
        return self

    def _begin(self, nvar: int, nlabels: int, device: str) -> None:
        self._nvar, self._nlabel = nvar, _size(nlabels, 1)
        self._crf = _Crf(self._nvar, self._nlabel, device)

    def addPairwiseEnergy(
        self,
        features: np.ndarray,
        compat: Compat,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Adds a Gaussian kernel over ``features`` [D, points], float32, D of 1 to 15, each divided by its standard
        deviation. ``compat`` is a Potts weight, a float32 vector [labels] or a float32 matrix [labels, labels]."""
        values = _array("features", features, np.float32, 2)
        if values.shape[1] != self._nvar:
            raise ValueError(f"Bad shape for pairwise energy (Need (?, {self._nvar}), got {values.shape})")
        values = _filled("features", values, np.float32, 2)
        KernelType(kernel)
        self._crf.add(values, _compatibility(compat, self._nlabel), int(NormalizationType(normalization)))

    def setUnary(self, u: Unary) -> None:
        """Sets the unary energies to those of ``u``."""
        if not isinstance(u, Unary):
            raise TypeError(f"Argument 'u' has incorrect type (expected Unary, got {type(u).__name__})")
        self._set(u._values)

    def setUnaryEnergy(self, u: np.ndarray, f: Optional[np.ndarray] = None) -> None:
        """Sets the unary energies, negative log probabilities, to ``u`` [labels, points], float32, or to ``u @ f``."""
        values = _array("u", u, np.float32, 2)
        if values.shape != (self._nlabel, self._nvar):
            raise ValueError(f"Bad shape for unary energy (Need {(self._nlabel, self._nvar)}, got {values.shape})")
        values = _filled("u", values, np.float32, 2)
        self._set(values if f is None else LogisticUnary(values, f)._values)

    def _set(self, values: np.ndarray) -> None:
        if values.shape != (self._nlabel, self._nvar):
            raise ValueError(f"Bad shape for unary energy (Need {(self._nlabel, self._nvar)}, got {values.shape})")
        self._crf.set_unary(values)

    def inference(self, niter: int) -> np.ndarray:
        """The posterior Q [labels, points], float32 in Fortran order, after ``niter`` updates of the mean field."""
        return self._crf.infer(max(_size(niter, -_MOST - 1), 0))

    def map(self, niter: int) -> np.ndarray:
        """The label of every point [points], int16, with the highest posterior after ``niter`` updates."""
        labels: np.ndarray = np.argmax(self.inference(niter), axis=0).astype(np.int16)
        return labels

    def startInference(self) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Q before the first update, and two arrays that :meth:`stepInference` takes and leaves as they are."""
        empty = (np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
        return (self._crf.start(), *empty)

    def stepInference(self, Q: np.ndarray, tmp1: Any, tmp2: Any) -> None:
        """Updates Q [labels, points], float32, in place."""
        values = _posterior("Q", Q)
        if values.dtype != np.float32 or values.ndim != 2:
            raise ValueError(f"Q is a float32 array [labels, points], not {values.dtype} of shape {values.shape}")
        if not values.flags.writeable:
            raise ValueError("buffer source array is read-only")
        values[...] = self._crf.step(np.ascontiguousarray(values), 1)

    def klDivergence(self, Q: np.ndarray) -> float:
        """The Kullback-Leibler divergence of Q [labels, points] from the CRF's distribution, up to a constant."""
        values = _posterior("Q", Q)
        if values.dtype != np.float32 or values.ndim != 2:
            raise ValueError(f"Q is a float32 array [labels, points], not {values.dtype} of shape {values.shape}")
        return self._crf.kl_divergence(np.ascontiguousarray(values))


class DenseCRF2D(DenseCRF):
    """A CRF over the pixels of an image of width ``w`` and height ``h``, row by row."""

    _w: int
    _h: int

    def __new__(cls, w: int, h: int, nlabels: int, *_: Any, device: str = "cpu", **__: Any) -> "DenseCRF2D":
        self = object.__new__(cls)
        self._w, self._h = _size(w), _size(h)
        self._begin(_size(self._w * self._h), nlabels, device)
        return self

    def addPairwiseGaussian(
        self,
        sxy: Union[float, Sequence[float]],
        compat: Compat,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Adds a Gaussian kernel over positions with standard deviation ``sxy`` in pixels, or (sx, sy)."""
        self._add(_deviations(sxy, 2), None, None, compat, kernel, normalization)

    def addPairwiseBilateral(
        self,
        sxy: Union[float, Sequence[float]],
        srgb: Union[float, Sequence[float]],
        rgbim: np.ndarray,
        compat: Compat,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Adds a Gaussian kernel over positions and the colours of ``rgbim`` [h, w, 3], uint8, with standard deviations
        ``sxy`` in pixels, or (sx, sy), and ``srgb`` on 0 to 255, or (sr, sg, sb)."""
        sxy, srgb = _deviations(sxy, 2), _deviations(srgb, 3)
        image = _array("rgbim", rgbim, np.uint8, 3)
        if image.shape[:2] != (self._h, self._w):
            raise ValueError(f"Bad shape for pairwise bilateral (Need {(self._h, self._w, 3)}, got {image.shape})")
        if image.shape[2] != 3:
            raise ValueError(
                "addPairwiseBilateral only works for RGB images. For other types, use "
                "`utils.create_pairwise_bilateral` to construct your own pairwise energy and add it through "
                "`addPairwiseEnergy`."
            )
        self._add(sxy, srgb, _filled("rgbim", image, np.uint8, 3), compat, kernel, normalization)

    def _add(
        self,
        sxy: Tuple[float, ...],
        srgb: Optional[Tuple[float, ...]],
        image: Optional[np.ndarray],
        compat: Compat,
        kernel: int,
        normalization: int,
    ) -> None:
        KernelType(kernel)
        costs = _compatibility(compat, self._nlabel)
        self._crf.add_image((self._w, self._h), sxy, srgb, image, costs, int(NormalizationType(normalization)))
