"""Sample effect (arXiv 2505.17988): which replies would raise the reward if they were learned?

The inner product of the gradient of a reply's log-likelihood with that of the expected reward. It
is what a small step of SFT on that reply adds to the reward, to first order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from svdrift.probes.probe import LABELS, Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from torch import Tensor

PROBE = Probe(label="what learning each reply of data sets would do to the reward")


class Settings(ProbeSettings):
    """What a small step of SFT on each reply of data sets would do to the expected reward."""

    data: dict[str, str] = Field(
        min_length=1,
        description="Name in the table -> split, or named data, whose replies are measured.",
    )
    rows: int = Field(512, gt=0, le=10**7, description="Most rows of each data set, the first.")
    samples: int = Field(
        8,
        gt=1,
        le=10_000,
        description="Replies sampled to each problem that the reward is expected of.",
    )
    temperature: float = Field(1.0, gt=0, le=100, description="Of sampling; RL's own.")
    freeze_embeddings: bool = Field(
        True,
        description="Leave out the embedding and the output head, as training that keeps them.",
    )
    minibatch_size: int = Field(
        64,
        gt=0,
        le=2**20,
        description="Rows of a minibatch of SFT, whose squared gradients Adam averages.",
    )

    @property
    def data_sets(self) -> Mapping[str, str]:
        """Those whose replies are measured."""
        return self.data


def measure(probed: Probed) -> pd.DataFrame:
    """Hold the gradient of each reply against that of the reward expected on the problems.

    With n samples y' a problem x', at RL's temperature,
        g = mean over problems and samples of (r(y') - mean r of the problem) grad log pi(y' | x')
    is the gradient of the expected reward, but for a factor (n - 1) / n, and
        e(x, y) = <grad log pi(y | x), g>
    at temperature 1, as SFT has it. The problems are those of the split; the rows are not.

    Returns:
        One row a reply: `data`; the labels of its own problem; `tokens`; `log_prob` (nats);
        `effect`, e: the reward that is added for each unit of a learning rate at which the weights
        move by grad log pi(y | x); `adam_effect`, with g divided by the root of Adam's second
        moment on this data set (`as_adam_steps`); and `gradient_norm` of g: where it is 0, the
        samples of each problem earn alike, and all effects are 0. Divide by `tokens` for what SFT
        gains whose loss is a mean over tokens.
    """
    import pandas as pd

    from svdrift.models.losses import tokenise
    from svdrift.probes.gradients import along, as_adam_steps
    from svdrift.tasks.base import demonstrations
    from svdrift.training.parameters import freeze

    model, tokenizer, _ = probed.writer
    settings = probed.settings
    assert isinstance(settings, Settings)
    freeze(model, embeddings=settings.freeze_embeddings)
    gradient = reward_gradient(probed, settings)
    norm = float(sum(part.double().square().sum() for part in gradient.values()) ** 0.5)
    tables = []
    for name, whole in probed.data.items():
        table = whole.iloc[: settings.rows]
        examples = tokenise(tokenizer, demonstrations(probed.task, table))
        log_probs, effects = along(model, examples, gradient, batch_size=probed.batch_size)
        steps = as_adam_steps(
            model,
            gradient,
            examples,
            minibatch_size=settings.minibatch_size,
            batch_size=probed.batch_size,
        )
        _, by_adam = along(model, examples, steps, batch_size=probed.batch_size)
        tables.append(
            table[LABELS]
            .reset_index(drop=True)
            .assign(
                data=name,
                tokens=[len(one) for one in log_probs],
                log_prob=[float(one.sum(dtype=np.float64)) for one in log_probs],
                effect=[float(one.sum(dtype=np.float64)) for one in effects],
                adam_effect=[float(one.sum(dtype=np.float64)) for one in by_adam],
                gradient_norm=norm,
            )
        )
    return pd.concat(tables, ignore_index=True)


def reward_gradient(probed: Probed, settings: Settings) -> dict[str, Tensor]:
    """The gradient of the expected reward, from sampled replies; see `measure`."""
    from svdrift.evaluation.sampling import judged, sample_tokens
    from svdrift.models.chat import prompt_tokens, reply_texts
    from svdrift.probes.gradients import weighted_gradient

    model, tokenizer, generate = probed.writer
    problems = probed.task.read(probed.problems)
    prompts = prompt_tokens(tokenizer, [[probed.task.first_turn(one)] for one in problems])
    replies = sample_tokens(
        model,
        tokenizer,
        prompts,
        probed.problems["problem"].astype(str).tolist(),
        samples=settings.samples,
        temperature=settings.temperature,
        max_new_tokens=probed.max_new_tokens,
        seed=probed.seed,
        batch_size=probed.batch_size,
        generate=generate,
    )
    places = np.repeat(np.arange(len(problems)), settings.samples)
    verdicts = judged(
        probed.task, [problems[place] for place in places], reply_texts(tokenizer, replies)
    )
    rewards = np.array([one.reward for one in verdicts]).reshape(len(problems), -1)
    # Alike rewards give exactly 0, whatever rounding does to their mean.
    mixed = rewards.max(axis=1, keepdims=True) > rewards.min(axis=1, keepdims=True)
    advantages = np.where(mixed, rewards - rewards.mean(axis=1, keepdims=True), 0.0)
    return weighted_gradient(
        model,
        [
            (prompts[place] + list(reply), len(prompts[place]))
            for place, reply in zip(places, replies, strict=True)
        ],
        (advantages / advantages.size).reshape(-1).tolist(),
        temperature=settings.temperature,
        batch_size=probed.batch_size,
    )
