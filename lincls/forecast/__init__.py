"""What a search or a training will take, before it runs: bytes, operations and time.

    print(forecast.neighbors(X, num_queries=10_000, k=10))
    print(forecast.training(X, recipe, hyper, num_steps=2_000, num_classes=10))

Rows may be any array, or `jax.ShapeDtypeStruct((2_000_000, 3072), "uint8")`: nothing of their size
is allocated.  Bytes are those that XLA plans for the program that will run, so a forecast compiles
it, which takes a second or two.  Time comes from the same program on few rows, on this machine.
"""

from lincls.forecast.nearest import neighbors
from lincls.forecast.told import Forecast
from lincls.forecast.trained import training

__all__ = ["Forecast", "neighbors", "training"]
