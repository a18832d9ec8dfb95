"""The extension module. Arrays are C-contiguous unless something else is said."""

from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

__version__: str

class Crf:
    """A dense CRF over points."""

    def __new__(cls, points: int, labels: int, device: str) -> "Crf": ...
    def set_unary(self, unary: NDArray[np.float32]) -> None:
        """Energies [labels, points]."""
    def add(
        self, features: NDArray[np.float32], compat: Union[float, NDArray[np.float32]], normalization: int
    ) -> None:
        """A kernel over features [D, points], with a Potts weight or costs [labels, labels]."""
    def add_image(
        self,
        size: Tuple[int, int],
        sxy: Sequence[float],
        srgb: Optional[Sequence[float]],
        rgb: Optional[NDArray[np.uint8]],
        compat: Union[float, NDArray[np.float32]],
        normalization: int,
    ) -> None:
        """A kernel over the positions, and the colours [H, W, 3] if there are any, of an image of (width, height)."""
    def start(self) -> NDArray[np.float32]:
        """softmax(-unary) [labels, points] in Fortran order; zeros without a unary."""
    def infer(self, iterations: int) -> NDArray[np.float32]:
        """The posterior [labels, points] in Fortran order."""
    def step(self, posterior: NDArray[np.float32], iterations: int) -> NDArray[np.float32]:
        """Goes on from a posterior [labels, points]; Fortran order."""
    def kl_divergence(self, posterior: NDArray[np.float32]) -> float:
        """Of a posterior [labels, points]."""

def random_walk(
    features: NDArray[np.float32],
    scores: NDArray[np.float32],
    radius: int,
    beta: float,
    steps: int,
    distance: str,
    device: str,
) -> NDArray[np.float32]:
    """Features [B, D, H, W] and scores [B, C, H, W] -> scores [B, C, H, W]."""

def predict(images: List[NDArray[np.uint8]], run: str, device: str) -> List[NDArray[np.uint8]]:
    """Images [H, W, 3] -> masks [H, W]."""

def run_program(arguments: List[str]) -> int:
    """The program; its name comes first among the arguments. Returns the exit status."""
