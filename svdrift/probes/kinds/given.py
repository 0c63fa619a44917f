"""Problems with a part of the solution given: where does a checkpoint fail?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svdrift.probes.probe import LABELS, Probe, Probed, ProbeSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from svdrift.tasks.probing import Help

PROBE = Probe(label="problems with a part of the solution given", asks_task=True)


class Settings(ProbeSettings):
    """Greedy replies to problems with nothing, and then more and more of the solution, given."""


def measure(probed: Probed) -> pd.DataFrame:
    """Let the model go on from each help that the task has.

    Returns:
        One row a problem and help: the labels, `given`, `solved`, `translated` (of the whole reply,
        what was given included), and of the task's solutions their numbers, `n_{name}`.
    """
    import pandas as pd

    from svdrift.evaluation.sampling import judged
    from svdrift.models.chat import reply_texts, stop_tokens
    from svdrift.tasks.probing import make_probing

    model, tokenizer, generate = probed.writer
    probing, problems = make_probing(probed.play), probed.task.read(probed.problems)
    helps = [probing.helped(problem) for problem in problems]
    labels = probed.problems[LABELS].reset_index(drop=True)
    counts = pd.DataFrame([dict(probing.solutions(problem)) for problem in problems])
    tables = []
    for given in helps[0]:
        begun = [of[given] for of in helps]
        prompts, starts = begin(tokenizer, begun)
        replies = generate(
            model,
            prompts,
            max_new_tokens=probed.max_new_tokens,
            stop_ids=stop_tokens(model, tokenizer),
            pad_id=int(tokenizer.pad_token_id or 0),
            batch_size=probed.batch_size,
        )
        texts = reply_texts(
            tokenizer,
            [
                prompt[start:] + list(reply)
                for prompt, start, reply in zip(prompts, starts, replies, strict=True)
            ],
        )
        verdicts = judged(probed.task, problems, texts)
        tables.append(
            pd.concat([labels, counts.add_prefix("n_")], axis=1).assign(
                given=given,
                solved=[verdict.solved for verdict in verdicts],
                translated=[verdict.translated for verdict in verdicts],
            )
        )
    return pd.concat(tables, ignore_index=True)


def begin(
    tokenizer: PreTrainedTokenizerBase, helps: Sequence[Help]
) -> tuple[list[list[int]], list[int]]:
    """Prompts as tokens with the beginning of the reply, and where the reply begins."""
    from svdrift.models.chat import prompt_tokens

    prompts = prompt_tokens(tokenizer, [[help.turn] for help in helps])
    begun = [tokenizer(help.begun, add_special_tokens=False)["input_ids"] for help in helps]
    starts = [len(prompt) for prompt in prompts]
    return [[*prompt, *own] for prompt, own in zip(prompts, begun, strict=True)], starts
