"""Every test runs with strict dtype promotion, and with 8 simulated devices for sharding.

What one process has compiled, no other process of the same run compiles again: workers and the
programs that tests start share a folder of compiled programs, which is new in every run.
"""

import contextlib
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of two workers wait for each other

import jax
import matplotlib
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")


IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ


def pytest_configure():
    if not IS_WORKER:
        compiled = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp()
        jax.config.update("jax_compilation_cache_dir", compiled)


def pytest_unconfigure():
    if not IS_WORKER:  # all others have ended
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory):
    """Tests neither read nor write the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINCLS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        yield


@pytest.fixture(scope="module")
def quick_compiles():
    """For modules whose time goes to compiling large programs that run once, on little data."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def optax_promotes(quick_compiles):
    """For modules whose trainings promote counts inside of optax."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def limited():
    """Sets other limits of `placement` until the test ends."""
    from lincls import placement

    with contextlib.ExitStack() as stack:
        yield lambda **numbers: stack.enter_context(placement.limited(**numbers))
