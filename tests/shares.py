"""The two shares of the tests: what always runs, and the further cases that `-m slow` runs."""

import pytest


def further(*values, id=None):
    """A case of a behaviour that another case tests in the default share."""
    return pytest.param(*values, marks=pytest.mark.slow, id=id)
