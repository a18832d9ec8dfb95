"""Times `weakseg.densecrf` beside pydensecrf: 500 x 375 pixels, 21 labels, 10 iterations, in turn, medians of five.

    RAYON_NUM_THREADS=2 python tests/python/speed.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import numpy as np
from configurations import _smooth

SIZE, LABELS, ITERATIONS = (500, 375), 21, 10


def scene():
    rng = np.random.default_rng(0)
    shape = SIZE[::-1]
    image = np.clip(127 + 100 * _smooth(rng, shape, 3), 0, 255).astype(np.uint8)
    logits = 2 * _smooth(rng, shape, LABELS)
    unary = np.log(np.exp(logits).sum(0)) - logits
    return np.ascontiguousarray(image.transpose(1, 2, 0)), unary.reshape(LABELS, -1).astype(np.float32)


def once(module, image, unary):
    begun = time.perf_counter()
    crf = module.DenseCRF2D(*SIZE, LABELS)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
    np.array(crf.inference(ITERATIONS))
    return time.perf_counter() - begun


def peak():
    """Megabytes that this process has held at most, on Linux: getrusage would count the parent's."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def main():
    if len(sys.argv) > 1:
        module = __import__(sys.argv[1], fromlist=["densecrf"]).densecrf
        arrays = scene()
        before = peak()
        once(module, *arrays)
        print(f"{sys.argv[1]}: {peak() - before:.0f} MB more at its peak")
        return
    import pydensecrf.densecrf as theirs
    import weakseg.densecrf as ours

    arrays, times = scene(), {"weakseg": [], "pydensecrf": []}
    for _ in range(5):
        times["weakseg"].append(once(ours, *arrays))
        times["pydensecrf"].append(once(theirs, *arrays))
    medians = {name: statistics.median(of) for name, of in times.items()}
    for name, of in times.items():
        print(f"{name}: {medians[name]:.2f} s, {min(of):.2f} to {max(of):.2f}")
    print(f"{medians['pydensecrf'] / medians['weakseg']:.1f} times as fast")
    for name in times:
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
