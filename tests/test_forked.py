"""A forked child says why it cannot go on, instead of waiting for threads that are not there."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, warnings
import numpy as np
from lincls import knn, quick
import jax
warnings.simplefilter("ignore")
X, y = np.eye(4, dtype=np.float32), np.arange(4) % 2
{before}
child = os.fork()
if child == 0:
    try:
        knn.predict(knn.fit(X, y), X, k=1)
        print("predicted", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(knn.predict(knn.fit(X, y), X, k=1).tolist())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("knn.predict(knn.fit(X, y), X, k=1)", "forked after JAX was used; start processes with"),
        ("", "predicted"),
    ],
    ids=["after use", "before use"],
)
def test_a_child_that_was_forked_after_use_says_spawn(before, said):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    child, parent = ran.stdout.splitlines()
    assert said in child
    assert parent == "[0, 1, 0, 1]"
