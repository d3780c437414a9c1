"""`python -m experiments`: the lecture in order on one data set, and the page of it."""

import sys

from experiments import run

if __name__ == "__main__":
    sys.exit(run.main_all())
