"""The loss of demonstrations by part, and of all right replies together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.probes.probe import LABELS, Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import pandas as pd

PROBE = Probe(label="losses of demonstrations, by part and of all right replies", asks_task=True)


class Settings(ProbeSettings):
    """Losses of the gold reply, of its parts, and of all right replies together."""


def measure(probed: Probed) -> pd.DataFrame:
    """Score the gold reply of each problem, and every right one that the task can list.

    Returns:
        One row a problem: its labels; `tokens` of the gold reply; `loss`, minus its log-probability
        (nats); `loss_{part}` of each of its parts, which add up to it; `set_loss`, minus the log of
        the probability of all right replies together; `set_size`, how many those are. So
        `loss - set_loss` is what is lost to other right replies.
    """
    import numpy as np
    import pandas as pd
    from scipy.special import logsumexp

    from svdrift.models.losses import tokenise
    from svdrift.probes.scoring import score
    from svdrift.tasks.probing import make_probing

    model, tokenizer, _ = probed.writer
    task, probing = probed.task, make_probing(probed.play)
    problems = task.read(probed.problems)
    gold = [task.gold_reply(problem) for problem in problems]
    sets = [list(probing.replies(problem)) for problem in problems]
    pairs = [
        (task.first_turn(problem), reply)
        for problem, own, replies in zip(problems, gold, sets, strict=True)
        for reply in dict.fromkeys([own, *replies])  # the gold one first
    ]
    scores = score(model, tokenise(tokenizer, pairs), batch_size=probed.batch_size)
    rows, first = [], 0
    for problem, own, replies in zip(problems, gold, sets, strict=True):
        texts = list(dict.fromkeys([own, *replies]))
        found = dict(zip(texts, scores[first : first + len(texts)], strict=True))
        first += len(texts)
        log_probs = found[own].log_probs.astype(np.float64)
        totals = [float(found[text].log_probs.astype(np.float64).sum()) for text in replies]
        parts = probing.parts(problem, own)
        rows.append(
            {
                "tokens": len(log_probs),
                "loss": -float(log_probs.sum()),
                **by_part(log_probs, token_ends(tokenizer, own, len(log_probs)), parts),
                "set_loss": -float(logsumexp(totals)),
                "set_size": len(replies),
            }
        )
    labels = probed.problems[LABELS].reset_index(drop=True)
    return pd.concat([labels, pd.DataFrame(rows)], axis=1)


def token_ends(tokenizer: object, reply: str, count: int) -> list[int]:
    """Where in the reply's text each of its tokens ends; those that close the turn end behind it.

    Args:
        tokenizer: a fast one, which knows where its tokens stand.
        reply: without what the chat template adds.
        count: tokens of the reply with what the template adds behind it.

    Raises:
        ValueError: the template changes the reply's tokens, so that parts cannot be told.
    """
    encoded = tokenizer(reply, add_special_tokens=False, return_offsets_mapping=True)  # type: ignore[operator]
    ends = [int(end) for _, end in encoded["offset_mapping"]]
    if len(ends) > count:
        raise ValueError(f"the reply has {len(ends)} tokens alone and {count} in its conversation")
    return ends + [len(reply) + 1] * (count - len(ends))


def by_part(
    log_probs: np.ndarray, ends: Sequence[int], parts: Mapping[str, tuple[int, int]]
) -> dict[str, float]:
    """`loss_{part}`: a token belongs to the part in which it ends, and behind all to the last.

    Args:
        log_probs: of the reply's tokens.
        ends: where each ends in the text.
        parts: spans of characters, one after the other.
    """
    losses = dict.fromkeys(parts, 0.0)
    *_, last = parts
    for value, end in zip(log_probs, ends, strict=True):
        part = next((name for name, (_, stop) in parts.items() if end <= stop), last)
        losses[part] -= float(value)
    return {f"loss_{name}": value for name, value in losses.items()}
