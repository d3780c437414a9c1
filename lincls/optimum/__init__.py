"""Where the optimum is, found from all data, with a bound on how far it may be off.

    best = optimum.optimum(X, y, reg=1e-3, affine=affine)                     softmax + L2
    path = optimum.optimum(X, y, reg=[1e-4, 1e-2], penalty=penalties.l1)      two strengths, L1

A low accuracy has two possible reasons: the training has not arrived (optimisation error), or the
best linear model is no better (model error).  The optimum separates them.
"""

from lincls.optimum.door import Optimum, nearly, optimum
from lincls.optimum.solvers import How, has_room

__all__ = ["How", "Optimum", "has_room", "nearly", "optimum"]
