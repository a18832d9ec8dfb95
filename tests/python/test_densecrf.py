"""`weakseg.densecrf`: bad input, processes, threads and signals; and pydensecrf beside it where it is installed.

    pytest tests/python
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import weakseg.densecrf as dcrf
import weakseg.utils as utils
from configurations import configuration, results

try:
    import pydensecrf.densecrf as theirs
    import pydensecrf.utils as their_utils
except ImportError:
    theirs = None

needs_pydensecrf = pytest.mark.skipif(theirs is None, reason="pydensecrf is not installed")


@needs_pydensecrf
@pytest.mark.parametrize("seed", range(100, 140))
def test_posteriors_are_those_of_pydensecrf(seed):
    case = configuration(seed)
    ours, stepped, divergence = results(dcrf, case)
    expected, _, their_divergence = results(theirs, case)
    assert ours.strides == expected.strides and ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, stepped)
    assert np.abs(ours - expected).mean() < 1e-4
    assert (ours.argmax(0) == expected.argmax(0)).mean() >= 0.999
    assert divergence == pytest.approx(their_divergence, rel=1e-3, abs=1e-3)


@needs_pydensecrf
def test_unaries_and_features_are_those_of_pydensecrf():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), (6, 7)).transpose(2, 0, 1)
    probabilities[0, 0, 0] = 0
    for options in [{}, {"scale": 0.6}, {"clip": None, "scale": 0.3}, {"clip": 0.1}]:
        ours = utils.unary_from_softmax(probabilities, **options)
        np.testing.assert_array_equal(ours, their_utils.unary_from_softmax(probabilities, **options))
    labels = rng.integers(0, 6, (6, 7))
    for case in [(labels, 5, 0.7, True), (labels, 6, 0.4, False)]:
        np.testing.assert_array_equal(utils.unary_from_labels(*case), their_utils.unary_from_labels(*case))
    np.testing.assert_array_equal(
        utils.softmax_to_unary(probabilities[1:], 0.9), their_utils.softmax_to_unary(probabilities[1:], 0.9)
    )
    for shape in [(6, 7), (4, 5, 3)]:
        deviations = range(2, 2 + len(shape))
        ours = utils.create_pairwise_gaussian(deviations, shape)
        np.testing.assert_array_equal(ours, their_utils.create_pairwise_gaussian(deviations, shape))
    image = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    for case in [((2, 3), (4, 5, 6), image, 2), ((2, 3), 4, image[..., 0], -1)]:
        ours = utils.create_pairwise_bilateral(*case)
        np.testing.assert_array_equal(ours, their_utils.create_pairwise_bilateral(*case))


def small(module=dcrf, labels=2, **options):
    crf = module.DenseCRF2D(4, 3, labels, **options)
    crf.setUnaryEnergy(np.arange(labels * 12, dtype=np.float32).reshape(labels, 12) % 5)
    return crf


F = np.float32
#: What goes wrong, and the kind of error; by pydensecrf too, unless it crashes there or says nothing.
WRONG = {
    "none as unary": (lambda m: small(m).setUnaryEnergy(None), TypeError, True),
    "a list as unary": (lambda m: small(m).setUnaryEnergy([[0.0] * 12] * 2), TypeError, True),
    "double unary": (lambda m: small(m).setUnaryEnergy(np.zeros((2, 12))), ValueError, True),
    "byte-swapped unary": (lambda m: small(m).setUnaryEnergy(np.zeros((2, 12), ">f4")), ValueError, True),
    "3-D unary": (lambda m: small(m).setUnaryEnergy(np.zeros((2, 3, 4), F)), ValueError, True),
    "Fortran unary": (lambda m: small(m).setUnaryEnergy(np.zeros((12, 2), F).T), ValueError, True),
    "strided unary": (lambda m: small(m).setUnaryEnergy(np.zeros((2, 24), F)[:, ::2]), ValueError, True),
    "strides of 0": (lambda m: small(m).setUnaryEnergy(np.broadcast_to(F(0), (2, 12))), ValueError, True),
    "unary of another image": (lambda m: small(m).setUnaryEnergy(np.zeros((2, 20), F)), ValueError, True),
    "unary of other labels": (lambda m: small(m).setUnaryEnergy(np.zeros((3, 12), F)), ValueError, True),
    "NaN in the unary": (lambda m: small(m).setUnaryEnergy(np.full((2, 12), np.nan, F)), ValueError, False),
    "no label left": (lambda m: small(m).setUnaryEnergy(np.full((2, 12), np.inf, F)), ValueError, False),
    "huge unary": (
        lambda m: small(m).setUnaryEnergy(np.lib.stride_tricks.as_strided(np.zeros(1, F), (2, 2**31), (0, 0))),
        ValueError,
        True,
    ),
    "image of another size": (
        lambda m: small(m).addPairwiseBilateral(3, 3, np.zeros((4, 3, 3), np.uint8), 1),
        ValueError,
        True,
    ),
    "image with alpha": (
        lambda m: small(m).addPairwiseBilateral(3, 3, np.zeros((3, 4, 4), np.uint8), 1),
        ValueError,
        True,
    ),
    "image of floats": (lambda m: small(m).addPairwiseBilateral(3, 3, np.zeros((3, 4, 3), F), 1), ValueError, True),
    "no image": (lambda m: small(m).addPairwiseBilateral(3, 3, None, 1), TypeError, True),
    "deviation of one axis": (lambda m: small(m).addPairwiseGaussian((3,), 1), IndexError, True),
    "deviation of 0": (lambda m: small(m).addPairwiseGaussian(0, 1), ValueError, False),
    "features of other points": (lambda m: small(m).addPairwiseEnergy(np.zeros((2, 13), F), 1), ValueError, True),
    "no features": (lambda m: small(m).addPairwiseEnergy(np.zeros((0, 12), F), 1), IndexError, False),
    "NaN in features": (lambda m: small(m).addPairwiseEnergy(np.full((2, 12), np.nan, F), 1), ValueError, False),
    "16 features": (lambda m: small(m).addPairwiseEnergy(np.zeros((16, 12), F), 1), ValueError, False),
    "compat of text": (lambda m: small(m).addPairwiseGaussian(3, "10"), TypeError, True),
    "compat of doubles": (lambda m: small(m).addPairwiseGaussian(3, np.zeros(2)), ValueError, True),
    "compat of 3 axes": (lambda m: small(m).addPairwiseGaussian(3, np.zeros((2, 2, 2), F)), ValueError, True),
    "vector of other labels": (lambda m: small(m).addPairwiseGaussian(3, np.zeros(3, F)), ValueError, False),
    "matrix of other labels": (lambda m: small(m).addPairwiseGaussian(3, np.zeros((3, 3), F)), ValueError, False),
    "NaN in compat": (lambda m: small(m).addPairwiseGaussian(3, np.full(2, np.nan, F)), ValueError, False),
    "iterations of 2.5": (lambda m: small(m).inference(2.5), TypeError, False),
    "2^40 iterations": (lambda m: small(m).inference(2**40), OverflowError, True),
    "unknown normalization": (lambda m: small(m).addPairwiseGaussian(3, 1, normalization=7), ValueError, False),
    "2^32 points": (lambda m: m.DenseCRF(2**32, 2), OverflowError, True),
    "2^40 pixels": (lambda m: m.DenseCRF2D(2**20, 2**20, 2), OverflowError, False),
    "no labels": (lambda m: m.DenseCRF(3, 0), ValueError, False),
    "points below 0": (lambda m: m.DenseCRF(-3, 2), ValueError, False),
    "Q of a list": (lambda m: small(m).stepInference([[0.5]], None, None), TypeError, False),
    "Q of other points": (lambda m: small(m).klDivergence(np.zeros((2, 5), F)), ValueError, False),
    "NaN in Q": (lambda m: small(m).klDivergence(np.full((2, 12), np.nan, F)), ValueError, False),
    "no memory": (lambda m: m.DenseCRF(2**31 - 1, 2**20).inference(1), MemoryError, False),
    "labels beyond": (lambda m: utils.unary_from_labels(np.array([3]), 2, 0.5), IndexError, False),
    "one label": (lambda m: utils.unary_from_labels(np.array([1]), 1, 0.5), ZeroDivisionError, False),
    "certainty": (lambda m: utils.unary_from_labels(np.array([1]), 2, 1.0), AssertionError, False),
    "unknown device": (lambda m: m.DenseCRF(3, 2, device="tpu"), ValueError, False),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused(what):
    attempt, error, by_theirs = WRONG[what]
    with pytest.raises(error):
        attempt(dcrf)
    if by_theirs and theirs is not None:
        with pytest.raises(error):
            attempt(theirs)


def test_layouts_and_orders_that_are_fine():
    crf = small()
    read_only = np.zeros((2, 12), F)
    read_only.flags.writeable = False
    crf.setUnaryEnergy(read_only)
    crf.setUnaryEnergy(memoryview(np.ones((2, 12), F)))
    # No unary, no kernel, kernels first, the unary twice, negative iterations.
    bare = dcrf.DenseCRF2D(4, 3, 2)
    np.testing.assert_array_equal(np.array(bare.inference(3)), np.full((2, 12), 0.5, F))
    assert not bare.startInference()[0].any()
    bare.addPairwiseGaussian(3, 2)
    bare.setUnaryEnergy(np.zeros((2, 12), F))
    bare.setUnary(dcrf.ConstUnary(np.arange(24, dtype=F).reshape(2, 12)))
    np.testing.assert_array_equal(bare.inference(-1), bare.inference(0))
    assert bare.map(2).shape == (12,)
    # Whole numbers of any type, as Cython takes them.
    np.testing.assert_array_equal(dcrf.DenseCRF2D(4.0, np.int64(3), 2).inference(1.0), np.full((2, 12), 0.5, F))
    # An array that is given is not looked at again.
    unary = np.zeros((2, 12), F)
    crf.setUnaryEnergy(unary)
    before = crf.inference(0).copy()
    unary += np.arange(12, dtype=F)
    unary[0] = 9
    np.testing.assert_array_equal(crf.inference(0), before)
    # Q of any layout, a subclass with a constructor of its own, more arguments than are needed.
    q = np.zeros((12, 2), F).T + F(0.5)
    crf.stepInference(np.ascontiguousarray(q), None, None)

    class Mine(dcrf.DenseCRF2D):
        def __init__(self, w, h, labels, more):
            self.more = more

    assert Mine(4, 3, 2, "more").inference(1).shape == (2, 12)
    assert dcrf.DenseCRF(0, 2).inference(3).shape == (2, 0)


@pytest.mark.parametrize("labels", [1, 300])
def test_any_number_of_labels(labels):
    crf = small(labels=labels)
    crf.addPairwiseGaussian(2, np.eye(labels, dtype=F) * -3)
    crf.addPairwiseBilateral(2, 3, np.zeros((3, 4, 3), np.uint8), 2, normalization=dcrf.NORMALIZE_AFTER)
    posterior = crf.inference(5)
    assert posterior.shape == (labels, 12)
    np.testing.assert_allclose(posterior.sum(0), 1, atol=1e-5)


@needs_pydensecrf
@pytest.mark.parametrize("labels", [1, 2])
def test_costs_of_few_labels_have_their_sign(labels):
    found = []
    for module in [dcrf, theirs]:
        crf = small(module, labels)
        crf.addPairwiseGaussian(2, np.full((labels, labels), -3, F))
        crf.addPairwiseGaussian(2, np.full(labels, -2, F))
        crf.addPairwiseGaussian(2, 5)
        posterior, _, _ = crf.startInference()
        found.append(crf.klDivergence(posterior))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def large(iterations):
    rng = np.random.default_rng(1)
    crf = dcrf.DenseCRF2D(200, 150, 12)
    crf.setUnaryEnergy(rng.random((12, 30_000), F))
    crf.addPairwiseBilateral(30, 10, rng.integers(0, 256, (150, 200, 3)).astype(np.uint8), 5)
    return crf.inference(iterations)


def test_threads_at_once_give_the_same():
    alone, found = large(3), {}
    threads = [threading.Thread(target=lambda i=i: found.setdefault(i, large(3))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for other in found.values():
        np.testing.assert_array_equal(other, alone)


def test_one_crf_in_many_threads():
    crf = small()
    crf.addPairwiseGaussian(2, 3)
    alone, found = crf.inference(9), []
    threads = [threading.Thread(target=lambda: found.append(crf.inference(9))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all((other == alone).all() for other in found)


def test_python_goes_on_beside_inference():
    ticks = 0
    worker = threading.Thread(target=large, args=(20,))
    worker.start()
    while worker.is_alive():
        ticks += 1
        time.sleep(0.001)
    assert ticks > 20


def _child(queue):
    queue.put(float(large(2).sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_first_use():
    expected = float(large(2).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue,))
    process.start()
    found = queue.get(timeout=120)
    process.join(timeout=60)
    assert process.exitcode == 0 and found == pytest.approx(expected)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_ctrl_c_during_inference():
    script = textwrap.dedent("""
        import numpy as np, weakseg.densecrf as dcrf
        crf = dcrf.DenseCRF2D(300, 200, 21)
        crf.setUnaryEnergy(np.zeros((21, 60000), np.float32))
        crf.addPairwiseGaussian(3, 3)
        print("begun", flush=True)
        try:
            crf.inference(1000000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted\n" and process.returncode == 0
