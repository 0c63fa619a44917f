"""Episodes that a policy plays for RL, and their form as dense tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import fmean, pstdev

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from svdrift.models.backend import Generate
from svdrift.models.chat import as_messages, prompt_tokens, reply_texts, stop_tokens
from svdrift.models.generation import generate as batched
from svdrift.tasks.base import Problem, Task
from svdrift.training.draws import REWARDS, generator

REPLY = "<<the reply>>"  # stands for any reply while a template is rendered around it

WINDOW = 5  # updates over which the share of a paid fault is averaged
RISE = 0.05  # of that mean, above which a warning is printed

Weigh = Callable[[PreTrainedTokenizerBase, list[int]], list[float]]


def equal_weights(tokenizer: PreTrainedTokenizerBase, reply: list[int]) -> list[float]:
    """Every token of a reply counts alike in the log-probability of its turn."""
    return [1.0] * len(reply)


@dataclass
class Episode:
    """One problem and all tries at it, as one sequence of tokens.

    Attributes:
        tokens: prompt, reply, feedback turn, reply, ..., as the model saw and sampled them.
        replies: (start, end) of each reply in `tokens`, its stop token included.
        weights: of each token's log-probability within its turn; 0 outside replies.
        rewards: the verifier's reward of each try.
        faults: the verifier's fault of each try; "none" where it was right.
        solved: whether the last try was right.
    """

    tokens: list[int]
    replies: list[tuple[int, int]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    solved: bool = False

    def extend(self, tokens: Sequence[int], weights: Sequence[float]) -> None:
        """Append tokens; those that stand for nothing sampled have weight 0."""
        self.weights += [0.0] * (len(self.tokens) - len(self.weights))
        self.tokens += tokens
        self.weights += weights


def play_episodes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    problems: Sequence[Problem],
    *,
    temperature: float,
    uniforms: Sequence[Tensor],
    begun: Sequence[Sequence[int]] | None = None,
    weigh: Weigh = equal_weights,
    generate: Generate = batched,
) -> list[Episode]:
    """Play all problems together, try by try; who is done leaves the batch.

    Args:
        model: the policy.
        tokenizer: of the model, with a chat template.
        task: whose verifier rewards replies and answers wrong ones.
        problems: one episode each.
        temperature: of sampling.
        uniforms: sampling noise in [0, 1) of each try, [len(problems), longest reply]; as many
            tries are made as there are tensors.
        begun: tokens with which each first reply begins; they are verified with it, and are no part
            of what was sampled.
        weigh: weights of a reply's tokens in the log-probability of its turn.
        generate: generates the replies.
    """
    stop_ids = stop_tokens(model, tokenizer)
    prompts = prompt_tokens(tokenizer, [[task.first_turn(problem)] for problem in problems])
    begun = [[] for _ in problems] if begun is None else begun
    episodes = [Episode([*p, *given]) for p, given in zip(prompts, begun, strict=True)]
    playing = list(range(len(problems)))
    for number, noise in enumerate(uniforms, start=1):
        if not playing:
            break
        replies = generate(
            model,
            [episodes[i].tokens for i in playing],
            max_new_tokens=noise.shape[1],
            stop_ids=stop_ids,
            pad_id=0,
            temperature=temperature,
            uniforms=noise[playing],
        )
        feedback: dict[int, str] = {}
        wholes = [
            [*begun[i], *reply] if number == 1 else reply
            for i, reply in zip(playing, replies, strict=True)
        ]
        for i, reply, text in zip(playing, replies, reply_texts(tokenizer, wholes), strict=True):
            episode, verdict = episodes[i], task.verify(problems[i], text)
            start = len(episode.tokens)
            episode.extend(reply, weigh(tokenizer, reply))
            episode.replies.append((start, len(episode.tokens)))
            episode.rewards.append(verdict.reward)
            episode.faults.append(verdict.fault)
            episode.solved = verdict.solved
            if not verdict.solved:
                feedback[i] = verdict.feedback
        playing = list(feedback)
        if number < len(uniforms):
            turns = feedback_tokens(tokenizer, list(feedback.values()))
            for i, turn in zip(playing, turns, strict=True):
                # The template closes the reply; a sampled stop token has done that already.
                closed = episodes[i].tokens[-1] in stop_ids and turn[0] in stop_ids
                turn = turn[1:] if closed else turn
                episodes[i].extend(turn, [0.0] * len(turn))
    return episodes


def feedback_tokens(tokenizer: PreTrainedTokenizerBase, feedback: Sequence[str]) -> list[list[int]]:
    """What the chat template puts between one reply and the next, feedback included.

    A reply is never tokenised again: it might come back as other tokens than were sampled. So the
    template is rendered around a placeholder, and only the text that follows it is tokenised.
    The first token is the end of the reply's turn, where the template has one.
    """
    if not feedback:
        return []
    rendered = tokenizer.apply_chat_template(
        [as_messages(["", REPLY, text]) for text in feedback],
        add_generation_prompt=True,
        tokenize=False,
    )
    after = [str(text).split(REPLY, 1)[1] for text in rendered]
    return [list(ids) for ids in tokenizer(after, add_special_tokens=False)["input_ids"]]


def with_permuted_rewards(episodes: Sequence[Episode], seed: int, update: int) -> list[Episode]:
    """Give each episode the reward of another: the rewards stay, their meaning goes.

    An episode's reward is the sum over its tries; the new one comes after its last reply, since
    the other episode may have had fewer or more tries.

    Args:
        episodes: of the update, of all processes.
        seed, update: decide the permutation.
    """
    order = generator(seed, REWARDS, update).permutation(len(episodes))
    return [
        replace(
            episode,
            rewards=[0.0] * (len(episode.rewards) - 1) + [sum(episodes[other].rewards)],
        )
        for episode, other in zip(episodes, order, strict=True)
    ]


@dataclass(frozen=True)
class Rollouts:
    """Episodes as dense tensors: N episodes, T tokens, A actions, padded on the right.

    Attributes:
        tokens: [N, T] ids; padding is 0 and comes last, where causal attention never looks.
        actions: [N, T] the action that a token belongs to; -1 for what was not sampled.
        weights: [N, T] of each token in the log-probability of its action; 0 outside actions.
        states: [N, A] position whose hidden state gives the value before the action.
        mask: [N, A] true where there is an action.
        rewards: [N, A] after each action, scaled.
    """

    tokens: Tensor
    actions: Tensor
    weights: Tensor
    states: Tensor
    mask: Tensor
    rewards: Tensor

    def select(self, rows: Tensor) -> Rollouts:
        """Some episodes only, with no more padding than these need."""
        length = int((self.actions[rows] >= 0).any(dim=0).nonzero().max()) + 1
        count = int(self.mask[rows].sum(dim=1).max())
        return Rollouts(
            *(getattr(self, f.name)[rows, :length] for f in fields(self)[:3]),
            *(getattr(self, f.name)[rows, :count] for f in fields(self)[3:]),
        )

    def by_length(self, rows: Tensor) -> Tensor:
        """Order of `rows` in which the longest come first, so that parts of them pad little."""
        places = torch.arange(1, self.actions.shape[1] + 1, device=rows.device)
        lengths = ((self.actions[rows] >= 0) * places).amax(dim=1)
        return lengths.argsort(descending=True, stable=True)

    def to(self, device: torch.device) -> Rollouts:
        """Copy to a device."""
        return Rollouts(*(getattr(self, f.name).to(device) for f in fields(self)))


def as_tensors(
    episodes: Sequence[Episode], *, by_turn: bool = True, reward_scale: float = 1.0
) -> Rollouts:
    """Lay out episodes for training, with a turn or a token as action.

    The reward of a try comes after its turn, or after the last token of its reply. The value of
    an action is read at the token before it: for a turn, the last token of its prompt.
    """
    size = max(len(episode.tokens) for episode in episodes)
    spans = [  # (start, end, reward) of each action
        [
            action
            for (start, end), reward in zip(episode.replies, episode.rewards, strict=True)
            for action in (
                [(start, end, reward)]
                if by_turn
                else [(t, t + 1, reward if t + 1 == end else 0.0) for t in range(start, end)]
            )
        ]
        for episode in episodes
    ]
    count = max(map(len, spans))
    shape = (len(episodes), size)
    tokens, weights = torch.zeros(shape, dtype=torch.long), torch.zeros(shape)
    actions = torch.full(shape, -1)
    states = torch.zeros(len(episodes), count, dtype=torch.long)
    mask = torch.zeros(len(episodes), count, dtype=torch.bool)
    rewards = torch.zeros(len(episodes), count)
    for row, (episode, row_spans) in enumerate(zip(episodes, spans, strict=True)):
        tokens[row, : len(episode.tokens)] = torch.tensor(episode.tokens)
        weights[row, : len(episode.weights)] = torch.tensor(episode.weights)
        mask[row, : len(row_spans)] = True
        for action, (start, end, reward) in enumerate(row_spans):
            actions[row, start:end] = action
            states[row, action] = start - 1
            rewards[row, action] = reward_scale * reward
    return Rollouts(tokens, actions, weights, states, mask, rewards)


def outcomes(episodes: Sequence[Episode], tries: int, faults: Sequence[str]) -> dict[str, float]:
    """What an update's episodes came to.

    Args:
        episodes: of the update, of all processes.
        tries: most tries of an episode.
        faults: kinds that the task's verifier names.

    Returns:
        `reward_mean` and `reward_std` (population) of an episode's reward, a sum over its tries;
        `solved_by_try_1` ..., shares of episodes; `fault_{kind}`, shares of all replies.
    """
    totals = [sum(episode.rewards) for episode in episodes]
    counts = Counter(fault for episode in episodes for fault in episode.faults)
    return {
        "reward_mean": sum(totals) / len(totals),
        "reward_std": pstdev(totals),
        **{
            f"solved_by_try_{number}": sum(
                episode.solved and len(episode.rewards) <= number for episode in episodes
            )
            / len(episodes)
            for number in range(1, tries + 1)
        },
        **{f"fault_{kind}": counts[kind] / counts.total() for kind in faults},
    }


def paid_faults(episodes: Sequence[Episode]) -> set[str]:
    """The faults for which a reply earned more than 0."""
    return {
        fault
        for episode in episodes
        for fault, reward in zip(episode.faults, episode.rewards, strict=True)
        if fault != "none" and reward > 0
    }


def warnings_of(metrics: Sequence[Mapping[str, float]], paid: Collection[str]) -> list[str]:
    """A line for each paid fault whose share has just risen, for the first time.

    It has risen when its mean over the last updates exceeds that over the first ones; how many and
    by how much, WINDOW and RISE say. What has risen so has grown in the last update, and so is
    among the faults paid in it.

    Args:
        metrics: `outcomes` of every update so far.
        paid: `paid_faults` of the last update.
    """
    lines = []
    for kind in sorted(paid):
        shares = [row[f"fault_{kind}"] for row in metrics]
        means = [fmean(shares[end - WINDOW : end]) for end in range(WINDOW, len(shares) + 1)]
        risen = [mean - means[0] > RISE for mean in means]
        if sum(risen) == 1 and risen[-1]:
            lines.append(
                f"warning: replies with the fault {kind!r}, which earns more than 0, have risen "
                f"from {means[0]:.1%} to {means[-1]:.1%} (means of {WINDOW} updates): the policy "
                "may learn to earn without solving"
            )
    return lines
