"""Every test runs with strict dtype promotion, and with 8 simulated devices for sharding."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import matplotlib

jax.config.update("jax_numpy_dtype_promotion", "strict")
matplotlib.use("Agg")
