"""How often the probe's 95 % intervals contain the truth, by simulation.

    python -m experiments.probe.coverage --tests 1000

Each line is a population of test examples whose true values are known.  Test sets are drawn from
it, and an interval is computed on each.  The coverage is the share of the intervals that contain
the true value.  It prints three tables in Markdown: of the measures, of means over seeds, and of
differences between two embeddings.
"""

import argparse
import sys
from collections.abc import Sequence

from experiments.lab import options
from experiments.probe.coverage import of_differences, of_measures, of_seeds

TABLES = (of_measures, of_seeds, of_differences)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = options.Parser(prog="python -m experiments.probe.coverage")
    parser.description, parser.formatter_class = __doc__, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tests", type=int, default=1000, help="test sets a line (default: 1000)")
    num_tests = parser.parse_args(argv).tests
    if num_tests < 1:
        parser.error(f"--tests must be at least 1, got {num_tests}")
    for table in TABLES:
        print("\n".join(table.HEAD))
        for cell in table.CELLS:
            print(table.line(cell, num_tests), flush=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
