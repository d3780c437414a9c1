"""All roles, in the order in which a name is looked up."""

from experiments.check_homework import (
    counting,
    descent,
    neighbours,
    objectives,
    penalties,
    scores,
)

ROLES = (
    *objectives.ROLES,
    *scores.ROLES,
    *neighbours.ROLES,
    *counting.ROLES,
    *penalties.ROLES,
    *descent.ROLES,
    objectives.ANY_LOSS,
)
