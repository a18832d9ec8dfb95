"""weakseg: image tags in, pixel masks out; and the dense CRF that Python users know.

* :mod:`weakseg.densecrf` and :mod:`weakseg.utils`: pydensecrf, call by call.
* :func:`crf`: scores of any origin, refined by what the image shows.
* :func:`random_walk`: scores that spread along the affinities of features (AffinityNet).
* :func:`predict`: masks by the network that a run of ``weakseg run`` has trained.

Arrays are numpy's, or anything with ``__array__`` or with DLPack on the CPU. ``device`` says where to compute: ``"cpu"``,
``"auto"`` (a GPU if there is one), ``"gpu"``, ``"gpu:1"`` or ``"vulkan"`` (software allowed). Nothing of a GPU is touched
before one is asked for.
"""

from __future__ import annotations

from ._functions import crf, predict, random_walk
from ._weakseg import __version__

__all__ = ["__version__", "crf", "predict", "random_walk"]
