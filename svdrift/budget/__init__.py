"""What a study would cost: GPU hours and disk, calculated from its settings and its model's shape.

Nothing here is measured. Assumed rates are fields of `costs.Machine`; typical lengths of turns come
from the task (`TaskSettings.tokens`). Counts are exact: of parameters, matrices, checkpoints, jobs,
steps and problems.
"""
