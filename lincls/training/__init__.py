"""Training: a pure core (one step, one loop) and the host's driver around it.

recipe = Recipe(Objective(losses.softmax, penalties.l2), optimizers.sgd)
state = start(key, params, recipe, hyper)
state, info = step(state, batch, recipe, hyper)                          one batch
state, info = run(state, data, affine, recipe, hyper, num_steps=...)     one program
state, history = fit(state, X, y, recipe, hyper, num_steps=...)          one verb
"""

from lincls.training.core import Optimizer, Recipe, last, run, start, step
from lincls.training.driver import fit

__all__ = ["Optimizer", "Recipe", "fit", "last", "run", "start", "step"]
