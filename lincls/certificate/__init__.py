"""How far a fit is from the optimum: a bracket of the least objective, by duality.

gap = certificate.duality_gap(params, X, y, reg=1e-3)       softmax + L2

`duality_gap` bounds any W.  `near_optimum` is quicker, for the parameters of a solver.
"""

from lincls.certificate.bracket import Gap, Task, duality_gap, near_optimum, task

__all__ = ["Gap", "Task", "duality_gap", "near_optimum", "task"]
