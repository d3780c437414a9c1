"""The reference code of slides 15-16, as it is printed there but for Python 3."""

from typing import Any

import numpy as np


class NearestNeighbor:
    """Slide 16's classifier: L1, one test image at a time.

    `self.Xtr - X[i, :]` is right for floats and signed integers; on uint8 pixels it wraps around.
    """

    def train(self, X: Any, y: Any) -> None:
        """X is N x D where each row is an example, y has their N labels: it remembers them."""
        self.Xtr = X
        self.ytr = y

    def predict(self, X: Any) -> np.ndarray:
        """X is M x D where each row is an example whose label is wanted: (M,)."""
        num_test = X.shape[0]
        Ypred = np.zeros(num_test, dtype=self.ytr.dtype)
        for i in range(num_test):
            distances = np.sum(np.abs(self.Xtr - X[i, :]), axis=1)
            min_index = np.argmin(distances)
            Ypred[i] = self.ytr[min_index]
        return Ypred
