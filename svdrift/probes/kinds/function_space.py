"""What a checkpoint computes, compared with an earlier one: did training move it back there?

Hidden states and next-token distributions of three checkpoints on the same prompts, as
arXiv 2509.12235 compares them: the peak, the checkpoint's own start, and the checkpoint itself.
Beside it stands the start with a random change of the same norm in every tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from svdrift.probes.probe import Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from transformers import PreTrainedModel

PROBE = Probe(label="hidden states and predictions compared with a peak", with_start=True)
OWN, NOISE = "own", "noise"


class Settings(ProbeSettings):
    """Hidden states and predictions at the end of each prompt, beside those of a peak."""

    peak: str = Field(description="The checkpoint that training may move back to.")
    tokens: int = Field(8, gt=0, le=1000, description="Last tokens of the prompt that are read.")
    draws: int = Field(3, ge=0, le=1000, description="Random changes of the same norm.")

    @property
    def others(self) -> Mapping[str, str]:
        """The peak."""
        return {"peak": self.peak}


def measure(probed: Probed) -> pd.DataFrame:
    """Compare the checkpoint, and random changes of its norm, with its start and the peak.

    Returns:
        One row a metric and change: `change` (`own`, or `noise`), `draw`, `metric`, `of` (`hidden`
        or `predictions`), `at_start` and `at_end` (how the peak is to the checkpoint's
        start and to the checkpoint itself), `back` (positive where the checkpoint is closer to the
        peak than its start is, in the metric's units), `wins` (share of prompts for which that
        holds, where the metric has a value for each), `prompts`.
    """
    import pandas as pd

    from svdrift.models.chat import prompt_tokens
    from svdrift.models.loading import load_model
    from svdrift.probes.function_space import METRICS, Seen, changed_at_random, look

    model, tokenizer, _ = probed.writer
    settings = probed.settings
    assert isinstance(settings, Settings)
    problems = probed.task.read(probed.problems)
    prompts = prompt_tokens(tokenizer, [[probed.task.first_turn(one)] for one in problems])

    def seen(one: PreTrainedModel) -> Seen:
        return look(one, prompts, settings.tokens, probed.batch_size)

    def loaded(key: str) -> PreTrainedModel:
        other: PreTrainedModel = load_model(probed.others[key], dtype=probed.dtype)
        other.to(probed.device)  # type: ignore[arg-type]  # its wrapper hides `self` from mypy
        return other

    peak, origin = seen(loaded("peak")), loaded("start")
    start = seen(origin)
    rows = []
    for draw in range(settings.draws + 1):
        if draw == 0:
            after = seen(model)
        else:
            after = seen(changed_at_random(origin, model, seed=probed.seed * 1000 + draw))
        for name, metric in METRICS.items():
            before_, after_ = metric.measure(peak, start), metric.measure(peak, after)
            rows.append(
                {
                    "change": OWN if draw == 0 else NOISE,
                    "draw": draw,
                    "metric": name,
                    "of": metric.of,
                    "at_start": before_.value,
                    "at_end": after_.value,
                    "back": metric.sign * (after_.value - before_.value),
                    "wins": metric.wins(before_, after_),
                    "prompts": len(prompts),
                }
            )
    return pd.DataFrame(rows)
