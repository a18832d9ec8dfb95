"""Times pydensecrf on the made-up photograph of crf_scene.rs, for `weakseg bench crf` to compare with.

    python pydensecrf.py WIDTH HEIGHT LABELS ITERATIONS REPEATS

prints one line of JSON, {"seconds": [...]}, one entry per repeat after a warm-up. A repeat builds both kernels
(Gaussian: sxy 3, compat 3; bilateral: sxy 80, srgb 13, compat 10) and runs the iterations. Exits with 3 where
pydensecrf is not installed. Its release on the package registry holds C++ files made by an old Cython, which do not
compile for Python 3.11 and later; what does:

    pip install "cython<3" numpy setuptools wheel
    pip download --no-deps --no-binary :all: --no-build-isolation pydensecrf
    tar xf pydensecrf-*.tar.gz && cd pydensecrf-*/
    rm pydensecrf/eigen.cpp pydensecrf/densecrf.cpp
    cython --cplus pydensecrf/eigen.pyx pydensecrf/densecrf.pyx
    pip install --no-build-isolation .
"""

import json
import os
import sys
import time

# Python looks beside the script first, and this script has the module's name.
sys.path[:] = [folder for folder in sys.path if not os.path.isfile(os.path.join(folder, "pydensecrf.py"))]

try:
    import numpy as np
    import pydensecrf.densecrf as dcrf
except ImportError as error:
    print(f"pydensecrf cannot be imported ({error}): how to install it is at the top of pydensecrf.py", file=sys.stderr)
    sys.exit(3)


def unit(index):
    """A number in [0, 1) that looks random, of an index."""
    bits = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    return (bits >> np.uint64(40)).astype(np.float64) / 2.0**24


def scene(width, height, labels):
    """Image [H, W, 3] u8 and probabilities [C, N] f32, by the formulas of crf_scene.rs."""
    y, x = np.mgrid[0:height, 0:width]
    index = y * width + x
    size = float(max(width, height))
    u, v = x / size, y / size
    wave = np.sin(5.0 * u + 2.0 * np.sin(3.0 * v)) + np.cos(4.0 * v + 1.5 * u)
    region = np.floor(2.0 + wave)
    texture = 0.5 * np.sin(40.0 * u + 9.0 * wave) * np.sin(35.0 * v)
    image = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        hue = np.sin(2.1 * region + 2.0 * channel)
        shade = np.sin(2.0 * u + 3.0 * v + channel)
        noise = 2.0 * unit(3 * index + channel) - 1.0
        value = 118.0 + 62.0 * hue + 28.0 * shade + 14.0 * texture + 9.0 * noise
        image[:, :, channel] = np.clip(np.floor(value + 0.5), 0, 255)
    scores = np.stack([
        np.exp(2.5 * np.sin(4.0 * u + 1.7 * c) * np.cos(3.0 * v + 0.9 * c) + 0.4 * wave * np.cos(float(c)))
        for c in range(labels)
    ])
    probability = scores.astype(np.float32) / scores.sum(axis=0)
    return image, probability.astype(np.float32).reshape(labels, -1)


def main():
    width, height, labels, iterations, repeats = map(int, sys.argv[1:6])
    image, probability = scene(width, height, labels)
    unary = -np.log(np.clip(probability, 1e-5, 1.0))
    seconds = []
    for _ in range(repeats + 1):
        clock = time.perf_counter()
        crf = dcrf.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=3, compat=3)
        crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
        crf.inference(iterations)
        seconds.append(time.perf_counter() - clock)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    main()
