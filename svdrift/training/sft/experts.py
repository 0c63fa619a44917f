"""How likely each token of a demonstration was to the expert who wrote it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from transformers import PreTrainedTokenizerBase

from svdrift.errors import UserError
from svdrift.models.losses import tokenise
from svdrift.tasks.experts import CHOICES


def expert_log_probs(
    tokenizer: PreTrainedTokenizerBase, problems: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> list[list[float]]:
    """Log-probabilities of the tokens of each reply under the expert who wrote it, in nats.

    An expert draws from the replies in the column `svdrift.tasks.experts.CHOICES`, each as likely;
    the task's own has one.

    Args:
        problems: table that stages learn from.
        pairs: first turn and reply of each row.

    Raises:
        UserError: a reply has an author of whom nothing is known, such as a checkpoint.
    """
    written = problems["reply"].notna() if "reply" in problems else [False] * len(problems)
    choices = problems[CHOICES] if CHOICES in problems else [None] * len(problems)
    found = []
    for (turn, reply), own, texts in zip(pairs, written, choices, strict=True):
        drawn = list(texts) if pd.api.types.is_list_like(texts) else []  # null in a mixture
        if own and not drawn:
            raise UserError(
                "loss: reads how likely an expert was to reply so, which is not known of a problem "
                "that has a reply of its own (allowed: demonstrations of the task or of an expert)"
            )
        examples = tokenise(tokenizer, [[turn, text] for text in (reply, *drawn)])
        replies = [tuple(tokens[start:]) for tokens, start in examples]
        found.append(prefix_log_probs(replies[0], replies[1:] or replies))
    return found


def prefix_log_probs(reply: Sequence[int], replies: Sequence[Sequence[int]]) -> list[float]:
    """Log-probability of each token of a reply that is drawn from `replies`, each as likely.

    It is log(n with the prefix and the token / n with the prefix), n counting replies.

    Args:
        reply: tokens, one of `replies`.
        replies: different ones.
    """
    found = []
    for place, token in enumerate(reply):
        further = [one for one in replies if len(one) > place and one[place] == token]
        found.append(math.log(len(further) / len(replies)))
        replies = further
    return found
