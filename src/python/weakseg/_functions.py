"""The functions of the package: arrays in, arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, List, Optional, Sequence, Union

from . import _weakseg

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np

#: How far the probabilities of a pixel may be from a sum of one.
_TOLERANCE = 1e-3
#: In a label map, a pixel that nobody labelled.
_UNSURE = 255


def _as_array(value: Any) -> "np.ndarray":
    """An array of numpy's over the same memory where there is a way."""
    import numpy as np

    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def _rgb(image: Any) -> "np.ndarray":
    """An image [H, W, 3] of uint8, C-contiguous."""
    import numpy as np

    array = _as_array(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise ValueError(f"an image is uint8 [H, W, 3], not {array.dtype} of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"an image of shape {array.shape} has no pixels")
    return np.ascontiguousarray(array)


def _energies(scores: "np.ndarray", scores_are: str, confidence: float, labels: Optional[int]) -> "np.ndarray":
    """Unary energies [C, H * W], float32."""
    import numpy as np

    from . import utils

    if scores_are == "labels" or (scores_are == "auto" and scores.ndim == 2):
        if scores.ndim != 2 or scores.dtype.kind not in "iu":
            raise ValueError(f"a label map is integers [H, W], not {scores.dtype} of shape {scores.shape}")
        given = scores.ravel().astype(np.int64)
        unsure = given == _UNSURE
        known = given[~unsure]
        count = labels if labels is not None else int(known.max(initial=0)) + 1
        if known.size and not 0 <= known.min() <= known.max() < count:
            raise ValueError(f"labels from {known.min()} to {known.max()}, where 0 to {count - 1} and {_UNSURE} can be")
        if not 0 < confidence < 1:
            raise ValueError(f"the confidence in the labels is {confidence}: use a probability between 0 and 1")
        if count < 2:
            return np.zeros((max(count, 1), given.size), np.float32)
        energies = utils.unary_from_labels(np.where(unsure, 0, given), count, confidence, zero_unsure=False)
        energies[:, unsure] = np.log(count)
        return energies
    if scores.ndim != 3 or scores.shape[0] == 0:
        raise ValueError(f"scores are [C, H, W], not of shape {scores.shape}")
    flat: np.ndarray = scores.reshape(scores.shape[0], -1).astype(np.float32, copy=False)
    if not np.isfinite(flat).all():
        raise ValueError("the scores hold values that are not finite numbers")
    sums = flat.sum(axis=0, dtype=np.float64)
    within = flat.min() >= -_TOLERANCE and flat.max() <= 1 + _TOLERANCE
    summed = bool((np.abs(sums - 1) <= _TOLERANCE).all())
    if scores_are == "auto":
        if within != summed:
            raise ValueError(
                "scores in [0, 1] that do not sum to 1 may be probabilities or logits: say scores_are='probabilities' "
                "or 'logits'"
            )
        scores_are = "probabilities" if summed else "logits"
    if scores_are == "probabilities":
        if flat.min() < -_TOLERANCE:
            raise ValueError(f"a score of {flat.min()} is no probability: say scores_are='logits'")
        if not summed:
            flat = np.where(sums > 0, flat / np.where(sums > 0, sums, 1), 1 / len(flat)).astype(np.float32)
        return utils.unary_from_softmax(flat)
    if scores_are == "logits":
        shifted = flat - flat.max(axis=0)
        energies = np.log(np.exp(shifted).sum(axis=0)) - shifted
        return np.ascontiguousarray(energies, dtype=np.float32)
    raise ValueError(f"scores_are={scores_are!r}: use 'auto', 'probabilities', 'logits' or 'labels'")


def crf(
    image: Any,
    scores: Any,
    *,
    scores_are: str = "auto",
    iterations: int = 10,
    gaussian_sxy: Union[float, Sequence[float]] = 3.0,
    gaussian_compat: Any = 3.0,
    bilateral_sxy: Union[float, Sequence[float]] = 80.0,
    bilateral_srgb: Union[float, Sequence[float]] = 13.0,
    bilateral_compat: Any = 10.0,
    confidence: float = 0.7,
    labels: Optional[int] = None,
    device: str = "cpu",
) -> "np.ndarray":
    """Scores refined by a dense CRF over the image: the posterior [C, H, W], float32.

    ``image`` is uint8 [H, W, 3]. ``scores`` are [C, H, W]: probabilities, logits, or what ``"auto"`` takes for either
    (an error where it cannot be told); or a map of integer labels [H, W], of which each is right with probability
    ``confidence`` and 255 stands for a pixel that nobody labelled, with ``labels`` labels or as many as occur. The other
    parameters are those of :mod:`weakseg.densecrf`, with AffinityNet's values; a ``compat`` of 0 leaves a kernel out.
    ``result.argmax(0)`` is the mask.
    """
    import numpy as np

    from .densecrf import DenseCRF2D

    rgb = _rgb(image)
    height, width = rgb.shape[:2]
    given = _as_array(scores)
    if given.ndim < 2 or given.shape[-2:] != (height, width):
        raise ValueError(f"scores of shape {given.shape} for an image of {height} x {width}: give [C, H, W] of its size")
    energies = _energies(given, scores_are, confidence, labels)
    model = DenseCRF2D(width, height, len(energies), device=device)
    model.setUnaryEnergy(energies)

    def costs(compat: Any) -> Any:
        array = np.asarray(compat, np.float32)
        return float(array) if array.ndim == 0 else np.ascontiguousarray(array)

    if np.any(costs(gaussian_compat)):
        model.addPairwiseGaussian(gaussian_sxy, costs(gaussian_compat))
    if np.any(costs(bilateral_compat)):
        model.addPairwiseBilateral(bilateral_sxy, bilateral_srgb, rgb, costs(bilateral_compat))
    posterior = model.inference(iterations)
    return np.ascontiguousarray(posterior).reshape(len(energies), height, width)


def random_walk(
    features: Any,
    scores: Any,
    *,
    radius: int = 5,
    beta: float = 8.0,
    steps: int = 256,
    distance: str = "mean",
    device: str = "cpu",
) -> "np.ndarray":
    """Scores spread by a random walk along the affinities of features (AffinityNet, Eq. 11 and 12), float32 of the shape
    of ``scores``.

    ``features`` are [D, H, W] and ``scores`` [C, H, W], or both with images in front, [B, D, H, W] and [B, C, H, W].
    Pixels closer than ``radius`` are neighbours, with the affinity exp(-distance) of their features to the power
    ``beta``; ``distance`` is the ``"mean"`` of absolute differences over D or the ``"sum"``.
    """
    import numpy as np

    def floats(name: str, value: Any) -> "np.ndarray":
        array = _as_array(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} are numbers, not {array.dtype}")
        array = np.ascontiguousarray(array, dtype=np.float32)
        if array.size == 0:
            raise ValueError(f"{name} of shape {array.shape} are empty")
        if not np.isfinite(array).all():
            raise ValueError(f"the {name} hold values that are not finite numbers")
        return array

    of_features, of_scores = floats("features", features), floats("scores", scores)
    if of_features.ndim != of_scores.ndim or of_scores.ndim not in (3, 4):
        raise ValueError(
            f"features and scores are [D, H, W] and [C, H, W], or [B, D, H, W] and [B, C, H, W], not of shapes "
            f"{of_features.shape} and {of_scores.shape}"
        )
    single = of_scores.ndim == 3
    if single:
        of_features, of_scores = of_features[None], of_scores[None]
    walked = _weakseg.random_walk(of_features, of_scores, radius, beta, steps, distance, device)
    return walked[0] if single else walked


def predict(
    images: Any, run: Union[str, "PathLike[str]"], *, device: str = "auto"
) -> Union["np.ndarray", List["np.ndarray"]]:
    """Masks of images by the segmentation network of the finished run in the directory ``run``, as ``weakseg predict``
    gives them: uint8 [H, W], 0 for the background, c + 1 for class c.

    ``images`` is one image, uint8 [H, W, 3], for one mask; or any number of them, of any sizes, for a list of masks.
    """
    import os

    array: Optional[np.ndarray] = None
    # The last is what Pillow's images have.
    ways = ("__array__", "__dlpack__", "__array_interface__")
    if not isinstance(images, (list, tuple)) and any(hasattr(images, way) for way in ways):
        array = _as_array(images)
    if array is not None and array.ndim == 3:
        return _weakseg.predict([_rgb(array)], os.fspath(run), device)[0]
    several: Iterable[Any] = images if array is None else array
    return _weakseg.predict([_rgb(image) for image in several], os.fspath(run), device)
