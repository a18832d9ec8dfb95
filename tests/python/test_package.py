"""The package beside `weakseg.densecrf`: its functions, its program, and what an import costs.

WEAKSEG_RUN names a finished run for `weakseg.predict`; without it that test is skipped.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import weakseg

F = np.float32


def scene():
    """A dark and a bright half, and the probability [2, H, W] of either, wrong at one pixel."""
    image = np.full((16, 20, 3), 20, np.uint8)
    image[:, 10:] = 220
    bright = np.where(np.arange(20) < 10, 0.3, 0.7) * np.ones((16, 1))
    bright[8, 4] = 0.8
    return image, np.stack([1 - bright, bright])


class Exported:
    """An array that only DLPack leads to."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_a_crf_corrects_a_pixel_from_any_scores():
    image, probabilities = scene()
    truth = np.broadcast_to(np.arange(20) >= 10, (16, 20))
    settings = {"bilateral_sxy": 20, "iterations": 5}
    posterior = weakseg.crf(image, probabilities, **settings)
    assert posterior.shape == (2, 16, 20) and posterior.dtype == F and posterior.flags.c_contiguous
    np.testing.assert_allclose(posterior.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(posterior.argmax(0), truth)
    others = {
        "logits": np.log(probabilities),
        "Fortran order": np.asfortranarray(probabilities),
        "half": probabilities.astype(np.float16),
        "DLPack": Exported(probabilities.astype(F)),
        "labels": probabilities.argmax(0),
    }
    for name, scores in others.items():
        how = {"scores_are": "logits"} if name == "logits" else {}
        refined = weakseg.crf(Exported(image), scores, **how, **settings)
        np.testing.assert_array_equal(refined.argmax(0), truth, err_msg=name)
    unsure = np.where(truth, 1, 0)
    unsure[8, :8] = 255
    np.testing.assert_array_equal(weakseg.crf(image, unsure, **settings).argmax(0), truth)
    nothing = weakseg.crf(image, probabilities, gaussian_compat=0, bilateral_compat=0)
    np.testing.assert_allclose(nothing, probabilities, atol=1e-5)


def test_scores_that_cannot_be_meant_are_refused():
    image, probabilities = scene()
    with pytest.raises(ValueError, match="uint8"):
        weakseg.crf(image.astype(F), probabilities)
    with pytest.raises(ValueError, match="16 x 20"):
        weakseg.crf(image, probabilities[:, :8])
    with pytest.raises(ValueError, match="may be probabilities or logits"):
        weakseg.crf(image, probabilities / 2)
    with pytest.raises(ValueError, match="not finite"):
        weakseg.crf(image, np.full_like(probabilities, np.nan))
    with pytest.raises(ValueError, match="scores_are"):
        weakseg.crf(image, probabilities, scores_are="scores")
    with pytest.raises(ValueError, match="labels from"):
        weakseg.crf(image, np.full((16, 20), 9), labels=3)


def test_a_random_walk_stays_within_what_features_say():
    features = np.repeat(np.where(np.arange(20) < 10, 0.0, 1.0)[None, None], 16, axis=1)
    scores = np.zeros((1, 16, 20))
    scores[0, 8, 4] = 1
    walked = weakseg.random_walk(features * 3, scores, steps=64)
    assert walked.shape == scores.shape and walked.dtype == F
    assert walked[0, :, :10].min() > 0 and walked[0, :, 10:].max() < 1e-3 * walked[0, :, :10].max()
    batch = weakseg.random_walk(np.stack([features * 3] * 2), np.stack([scores] * 2), steps=64)
    np.testing.assert_allclose(batch[1], walked, rtol=1e-5)
    for wrong in [{"radius": 1}, {"beta": 0}, {"beta": float("nan")}, {"distance": "median"}, {"device": "tpu"}]:
        with pytest.raises(ValueError):
            weakseg.random_walk(features, scores, **wrong)
    with pytest.raises(ValueError):
        weakseg.random_walk(features[:, :8], scores)
    with pytest.raises(ValueError):
        weakseg.random_walk(features, scores * np.nan)


def test_a_run_that_is_none_is_said_to_be_none(tmp_path):
    with pytest.raises(RuntimeError, match="run"):
        weakseg.predict(scene()[0], tmp_path, device="cpu")


@pytest.mark.skipif("WEAKSEG_RUN" not in os.environ, reason="WEAKSEG_RUN names no finished run")
def test_masks_by_a_run():
    image = np.tile(scene()[0], (8, 8, 1))
    one = weakseg.predict(image, os.environ["WEAKSEG_RUN"], device="cpu")
    assert one.shape == image.shape[:2] and one.dtype == np.uint8

    class LikePillow:
        __array_interface__ = image.__array_interface__

    np.testing.assert_array_equal(weakseg.predict(LikePillow(), os.environ["WEAKSEG_RUN"], device="cpu"), one)
    two = weakseg.predict([image, image[:90]], os.environ["WEAKSEG_RUN"], device="cpu")
    np.testing.assert_array_equal(two[0], one)
    assert two[1].shape == (90, 160)


def run(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)


def program():
    """The console script beside this Python."""
    folder = pathlib.Path(sys.executable).parent
    return str(folder / ("weakseg.exe" if sys.platform == "win32" else "weakseg"))


def test_the_program_answers_as_the_binary_does(tmp_path):
    version = run(program(), "--version")
    assert version.returncode == 0 and version.stdout == f"weakseg {weakseg.__version__}\n"
    assert run(sys.executable, "-m", "weakseg", "--version").stdout == version.stdout
    wrong = run(program(), "crf")
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and not wrong.stdout
    missing = run(program(), "inspect", str(tmp_path / "none"))
    assert missing.returncode == 1 and missing.stderr.startswith("error: ") and missing.stderr.count("\n") == 1


def test_an_import_is_quick_and_touches_no_gpu():
    script = "import time; t = time.perf_counter(); import weakseg; print(time.perf_counter() - t)"
    seconds = min(float(run(sys.executable, "-c", script).stdout) for _ in range(5))
    assert seconds < 0.1, seconds
    script = "import weakseg, sys; print('numpy' in sys.modules)"
    assert run(sys.executable, "-c", script).stdout == "False\n"
    if sys.platform.startswith("linux"):
        script = "import weakseg.densecrf as d; d.DenseCRF(5, 2).inference(1); print(open('/proc/self/maps').read())"
        assert "vulkan" not in run(sys.executable, "-c", script).stdout
