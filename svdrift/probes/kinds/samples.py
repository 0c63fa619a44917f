"""Replies sampled as RL samples them, and the greedy one: which are right, and how surely."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from svdrift.probes.probe import LABELS, Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from svdrift.probes.scoring import Score

PROBE = Probe(label="replies sampled at RL's temperature, and the greedy one")


class Settings(ProbeSettings):
    """Replies sampled to each problem, and the greedy one, judged and scored."""

    samples: int = Field(64, gt=0, le=10_000, description="Replies sampled to each problem.")
    temperature: float = Field(
        1.0, gt=0, le=100, description="Of sampling; RL's own, for what predicts RL."
    )


def measure(probed: Probed) -> pd.DataFrame:
    """Sample replies to each problem.

    Returns:
        One row a problem: its labels; `samples`; `correct`, how many are solved; `distinct`, how
        many different texts those are; `rewards` of all samples, a list; and, as means over the
        samples, `entropy` (nats per token), `log_prob` (nats per reply), `tokens` (a reply's
        length) and `translated` (share). Of the greedy reply: `greedy_solved`; `greedy_fault`, the
        verifier's; and two measures of how sure it is, `confidence`, the geometric mean of its
        tokens' probabilities at temperature 1, and `agreement`, the share of samples with its text.
    """
    import numpy as np
    import pandas as pd

    from svdrift.evaluation.sampling import judged, sample_tokens
    from svdrift.models.chat import prompt_tokens, reply_texts
    from svdrift.probes.scoring import score

    model, tokenizer, generate = probed.writer
    settings = probed.settings
    assert isinstance(settings, Settings)
    problems = probed.task.read(probed.problems)
    prompts = prompt_tokens(tokenizer, [[probed.task.first_turn(one)] for one in problems])
    places = np.repeat(np.arange(len(problems)), settings.samples)
    sampled = partial(
        sample_tokens,
        model,
        tokenizer,
        prompts,
        probed.problems["problem"].astype(str).tolist(),
        max_new_tokens=probed.max_new_tokens,
        seed=probed.seed,
        batch_size=probed.batch_size,
        generate=generate,
    )
    tokens = sampled(samples=settings.samples, temperature=settings.temperature)

    def scored(of: Iterable[int], replies: list[list[int]], temperature: float) -> list[Score]:
        examples = [
            (prompts[place] + list(reply), len(prompts[place]))
            for place, reply in zip(of, replies, strict=True)
        ]
        return score(model, examples, temperature=temperature, batch_size=probed.batch_size)

    scores = scored(places, tokens, settings.temperature)
    replies = reply_texts(tokenizer, tokens)
    verdicts = judged(probed.task, [problems[place] for place in places], replies)
    greedy_tokens = sampled(samples=1, temperature=0.0)
    greedy = reply_texts(tokenizer, greedy_tokens)
    greedy_verdicts = judged(probed.task, problems, greedy)
    greedy_scores = scored(range(len(problems)), greedy_tokens, 1.0)
    rows = []
    for place in range(len(problems)):
        own = slice(place * settings.samples, (place + 1) * settings.samples)
        solved = [one.solved for one in verdicts[own]]
        right = {text for text, is_right in zip(replies[own], solved, strict=True) if is_right}
        rows.append(
            {
                "samples": settings.samples,
                "correct": sum(solved),
                "distinct": len(right),
                "rewards": [one.reward for one in verdicts[own]],
                "entropy": float(np.mean(np.concatenate([s.entropies for s in scores[own]]))),
                "log_prob": float(np.mean([s.log_probs.sum() for s in scores[own]])),
                "tokens": float(np.mean([len(s.log_probs) for s in scores[own]])),
                "translated": float(np.mean([one.translated for one in verdicts[own]])),
                "greedy_solved": greedy_verdicts[place].solved,
                "greedy_fault": greedy_verdicts[place].fault,
                "confidence": float(np.exp(greedy_scores[place].log_probs.mean())),
                "agreement": float(np.mean([text == greedy[place] for text in replies[own]])),
            }
        )
    labels = probed.problems[LABELS].reset_index(drop=True)
    return pd.concat([labels, pd.DataFrame(rows)], axis=1)
