"""What TRL asks of us in GRPO: to play an update's episodes, and to say what they earn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOTrainer

from svdrift.models.backend import Generate
from svdrift.tasks.base import Problem, Task
from svdrift.training import sharding
from svdrift.training.draws import draw_noise
from svdrift.training.grpo import guidance, sampler
from svdrift.training.grpo.settings import Settings
from svdrift.training.likelihood import k3
from svdrift.training.policy import evaluate_replies
from svdrift.training.prefixes import begin_replies, draw_quarters, solved_by_quarters
from svdrift.training.rollout import (
    Episode,
    as_tensors,
    outcomes,
    paid_faults,
    play_episodes,
    warnings_of,
    with_permuted_rewards,
)

OWN = "own/"  # before the names of what we measure, since TRL has a `reward_std` too


class Game:
    """What TRL asks of us: to play episodes, and to say what they earn."""

    def __init__(
        self,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        problems: Sequence[Problem],
        settings: Settings,
        seed: int,
        max_new_tokens: int,
        generate: Generate,
    ) -> None:
        self.reference = reference
        self.tokenizer, self.task, self.problems = tokenizer, task, problems
        self.settings, self.seed, self.max_new_tokens = settings, seed, max_new_tokens
        self.generate = generate
        self.episodes: list[Episode] = []
        self.measured: dict[str, float] = {}
        self.logged: list[dict[str, float]] = []  # of TRL's state, which a snapshot keeps
        self.update = 0
        self.places = np.array([], dtype=int)  # of the episodes that the sampler drew
        # Of guidance: tokens given to each of `episodes`; the same with each text once a group; and
        # log-probabilities of the latter.
        self.given = self.learned = np.array([], dtype=int)
        self.known: list[float] = []

    def play(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Play this process's episodes of an update, on the problems at the places `prompts`.

        Returns:
            Tokens of prompts and of all that follows; `env_mask` is 1 for what the policy sampled.
        """
        self.logged = trainer.state.log_history
        self.update = trainer.state.global_step // self.settings.steps_per_update + 1
        place = trainer.accelerator.process_index * len(prompts)
        shape = (self.settings.episodes, self.max_new_tokens)
        noise = draw_noise(self.settings.tries, shape, self.seed, self.update)
        noise = [of_try[place : place + len(prompts)] for of_try in noise]
        problems = [self.problems[int(prompt)] for prompt in prompts]
        policy = trainer.accelerator.unwrap_model(trainer.model)
        with sharding.whole(policy), trainer.accelerator.autocast():
            if self.settings.guidance is None:
                quarters = self._quarters()[place : place + len(prompts)]
                begun = begin_replies(self.tokenizer, self.task, problems, quarters)
                self.episodes = self._play(policy, problems, noise, begun)
                self.given = np.zeros(len(prompts), dtype=int)
            else:
                self.episodes, self.given = self._play_guided(policy, problems, noise)
                self.learned = guidance.learned(self.given, self.settings.group_size)
                self.known = self._score_given(policy, trainer.accelerator.device)
            self.measured = self._measure(policy, trainer.accelerator.device)
        # What guidance gives belongs to the completion, since it may be learned from.
        begins = [
            episode.replies[0][0] - count
            for episode, count in zip(self.episodes, self.given.tolist(), strict=True)
        ]
        played = list(zip(self.episodes, begins, strict=True))
        return {
            "prompt_ids": [episode.tokens[:begin] for episode, begin in played],
            "completion_ids": [episode.tokens[begin:] for episode, begin in played],
            "env_mask": [list(map(int, episode.weights[begin:])) for episode, begin in played],
            "logprobs": None,  # TRL computes them anew, by the forward that trains
        }

    def _play(
        self,
        policy: PreTrainedModel,
        problems: Sequence[Problem],
        noise: Sequence[torch.Tensor],
        begun: Sequence[Sequence[int]],
    ) -> list[Episode]:
        return play_episodes(
            policy,
            self.tokenizer,
            self.task,
            problems,
            temperature=self.settings.temperature,
            uniforms=noise,
            begun=begun,
            generate=self.generate,
        )

    def _play_guided(
        self, policy: PreTrainedModel, problems: Sequence[Problem], noise: Sequence[torch.Tensor]
    ) -> tuple[list[Episode], np.ndarray]:
        """The episodes, micro-group after micro-group, and how many tokens each was given."""
        guided, size = self.settings.guidance, self.settings.group_size
        assert guided is not None
        episodes: dict[int, Episode] = {}
        solved = np.zeros((len(problems) // size, size), dtype=bool)
        given = np.zeros(len(problems), dtype=int)
        levels = guidance.micro_groups(guided.rollouts, len(solved))
        for level, share, below in zip(levels, guided.shares, guided.below, strict=True):
            so_far = level[0, 0]  # of each group
            needy = guidance.needs(solved[:, :so_far], below) if so_far else [False] * len(solved)
            begun = [
                guidance.beginning(self.tokenizer, self.task, problems[place], share, guided.after)
                if needed
                else []
                for needed, of_group in zip(needy, level.tolist(), strict=True)
                for place in of_group
            ]
            places = level.reshape(-1)
            given[places] = list(map(len, begun))
            found = self._play(
                policy,
                [problems[place] for place in places],
                [of_try[places] for of_try in noise],
                begun,
            )
            episodes |= dict(zip(places.tolist(), found, strict=True))
            solved.reshape(-1)[places] = [episode.solved for episode in found]
        return [episodes[place] for place in range(len(problems))], given

    def reward(
        self, *, log_metric: Callable[[str, float], None], **_: object
    ) -> list[float | None]:
        """Sum over tries of the rewards of the episodes just played, or another episode's.

        They decide which episodes train, if there is a sampler.
        """
        state = PartialState()
        every = gather_object(self.episodes) if state.num_processes > 1 else self.episodes
        measured = outcomes(every, self.settings.tries, self.task.faults)
        after = solved_by_quarters(every, self._quarters(), self.settings.prefix_quarters)
        if (guided := self.settings.guidance) is not None:
            given, known = (
                np.array(gather_object(list(own)) if state.num_processes > 1 else own)
                for own in (self.given, self.known)
            )
            after |= guidance.measures(every, given, known, guided.alpha)
        for name, value in (measured | after | self.measured).items():
            log_metric(OWN + name, value)
        if state.is_main_process:
            earlier = filter(None, map(own, self.logged))
            for line in warnings_of([*earlier, measured], paid_faults(every)):
                print(line, flush=True)
        rewarded = every
        if self.settings.permute_rewards:
            rewarded = with_permuted_rewards(every, self.seed, self.update)
        rewards = [sum(episode.rewards) for episode in rewarded]
        if self.settings.sampler is not None:
            relative = np.array(rewards), self.settings.group_size
            self.places = sampler.draw_episodes(
                *relative, self.settings.sampler, self.seed, self.update
            )
            for name, value in sampler.measures(self.places, *relative).items():
                log_metric(OWN + name, value)
        first = state.process_index * len(self.episodes)
        return list(rewards[first : first + len(self.episodes)])

    def _quarters(self) -> np.ndarray:
        """Of the gold reply, that each episode of the update begins with; a group shares them."""
        settings = self.settings
        groups = settings.episodes // settings.group_size
        dealt = draw_quarters(settings.prefix_quarters, groups, self.seed, self.update)
        return np.repeat(dealt, settings.group_size)

    @torch.no_grad()
    def _measure(self, policy: PreTrainedModel, device: Any) -> dict[str, float]:
        """KL to the start and entropy on the replies, as PPO measures them."""
        rollouts = as_tensors(self.episodes).to(device)
        kl, entropy, tokens = 0.0, 0.0, 0
        for rows in torch.arange(len(self.episodes)).split(self.settings.micro_batch_size):
            batch = rollouts.select(rows.to(device))
            replied = batch.actions >= 0
            now, entropies, _ = evaluate_replies(policy, batch, self.settings.temperature)
            then, _, _ = evaluate_replies(self.reference, batch, self.settings.temperature)
            kl += k3(now, then)[replied].sum().item()
            entropy += entropies[replied].sum().item()
            tokens += int(replied.sum())
        return {"kl_to_start": kl / tokens, "entropy": entropy / tokens}

    @torch.no_grad()
    def _score_given(self, policy: PreTrainedModel, device: Any) -> list[float]:
        """Log-probabilities of the tokens that are learned from, under the policy that played."""
        texts = [
            Episode(episode.tokens[:begin], [(begin - count, begin)], rewards=[0.0])
            for episode, count in zip(self.episodes, self.learned.tolist(), strict=True)
            if count
            for begin in [episode.replies[0][0]]
        ]
        if not texts:
            return []
        rollouts, found = as_tensors(texts).to(device), []
        for rows in torch.arange(len(texts)).split(self.settings.micro_batch_size):
            batch = rollouts.select(rows.to(device))
            log_probs, _, _ = evaluate_replies(policy, batch, self.settings.temperature)
            found += log_probs[batch.actions >= 0].tolist()
        return found


def own(entry: Mapping[str, float | None]) -> dict[str, float]:
    """What we measured of an update; nothing in the entry that TRL adds at the end."""
    found = {name: value for name, value in entry.items() if name.startswith(OWN)}
    return {  # TRL logs None where a number was NaN throughout
        name.removeprefix(OWN): math.nan if value is None else value
        for name, value in found.items()
    }
