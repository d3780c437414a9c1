"""The handwritten digits that come with scikit-learn and need no download.

1,797 images of 8 x 8 pixels with levels 0..16 (Alpaydin and Kaynak, 1998, the test half
of "Optical Recognition of Handwritten Digits").  The file is ordered by writer, so the last
360 images are by other people than the first 1,437.
"""

import numpy as np

from lincls.data import dataset
from lincls.data.dataset import Dataset, Split

NUM_TRAIN = 1437
# The digest of what scikit-learn has shipped, in the arrays of `load`.
DIGEST = "3c8946efd88a0dbe94efc2c3b00be0a0736ecdb670cde0d337f95297b1c54d98"


def load() -> Dataset:
    """Return the digits: 1,437 training and 360 test images (8, 8, 1), uint8, levels 0..16."""
    import sklearn  # half a second, and only this data set needs it
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train, test = (Split(images[s], labels[s]) for s in (np.s_[:NUM_TRAIN], np.s_[NUM_TRAIN:]))
    return dataset.build(
        "digits",
        tuple("0123456789"),
        train,
        test,
        location=f"scikit-learn {sklearn.__version__}",
        official=dataset.digest(train, test) == DIGEST,
        description="digits, from scikit-learn",
    )
