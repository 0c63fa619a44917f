"""Pretraining examples for the tiny base model: skills of the task, never their composition.

Kinds of examples, in the compact style; each begins with a rule, as in the task:

- multiply: `minus rows 2 -1 ; 3 4 multiply` -> `8 , - 3`, for 2 x 2 and 3 x 3;
- add: `plus products 8 , - 3 add` -> `8 , - 3 : 5`, for two products and for six; the products are
  repeated first, as the reply of the task has them;
- invent: `plus products add`, where the reply chooses the products itself.

Most matrices are of the trained form, and most sums of products that the reply chooses, since the
task asks for sums of products that the model has written (docs/determinant.md). The marker of the
task never appears.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from svdrift.tasks.determinant import prompts
from svdrift.tasks.determinant.matrices import RULES, Rows, join, products, value

MULTIPLY_SHARE, INVENTED_SHARE, TRAINED_SHARE = 0.5, 0.6, 0.8
"""Share of examples that multiply; of the sums, those whose products the reply chooses; and of the
matrices, those of the trained size and range, where there are others."""


class Mixture:
    """A seeded source of examples.

    Args:
        sizes: of the matrices, each with its lowest and highest entry; the trained one first.
        seed: of everything that is drawn.
    """

    def __init__(self, sizes: Sequence[tuple[int, int, int]], seed: int) -> None:
        self._random = Random(seed)
        self._trained, *others = sizes
        self._others = others or [self._trained]

    def example(self) -> list[str]:
        """Turns [user, reply]."""
        rule, rows = self._random.choice(RULES), self._rows()
        terms = products(rows)
        if self._random.random() < MULTIPLY_SHARE:
            prompt = prompts.compact_prompt(rule, "rows", join(rows), prompts.MULTIPLY)
            return [prompt, prompts.listed(terms)]
        given = "" if self._random.random() < INVENTED_SHARE else prompts.listed(terms)
        prompt = " ".join(prompts.compact_prompt(rule, "products", given, prompts.ADD).split())
        return [prompt, prompts.compact_reply(terms, value(terms, rule))]

    def _rows(self) -> Rows:
        trained = self._random.random() < TRAINED_SHARE
        size, low, high = self._trained if trained else self._random.choice(self._others)
        return tuple(
            tuple(self._random.randint(low, high) for _ in range(size)) for _ in range(size)
        )
