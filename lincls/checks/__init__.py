"""What is checked at the door, once, on the host, with errors that say what to type instead.

Public functions call these before anything is traced.  Each returns its argument in the form
that the code behind the door relies on: a native array of a known kind.  Under a caller's own
`jit` the arguments are tracers: shapes and dtypes are still checked, values cannot be.
"""

from lincls.checks.arrays import (
    as_array,
    column,
    finite,
    floats,
    greatest,
    rows,
    rows_anywhere,
    within,
)
from lincls.checks.examples import (
    affine,
    example_weights,
    examples,
    folds,
    label_matrix,
    labels,
    labels_anywhere,
    params,
    scored,
    targeted,
    tree,
    vote_weights,
    weights,
)
from lincls.checks.values import (
    count,
    counts,
    floating,
    function,
    is_concrete,
    is_key,
    key,
    kind,
    number,
    on_host,
    positive,
    share,
    shown,
)

__all__ = [
    "affine",
    "as_array",
    "column",
    "count",
    "counts",
    "example_weights",
    "examples",
    "finite",
    "floating",
    "floats",
    "folds",
    "function",
    "greatest",
    "is_concrete",
    "is_key",
    "key",
    "kind",
    "label_matrix",
    "labels",
    "labels_anywhere",
    "number",
    "on_host",
    "params",
    "positive",
    "rows",
    "rows_anywhere",
    "scored",
    "share",
    "shown",
    "targeted",
    "tree",
    "vote_weights",
    "weights",
    "within",
]
