"""PPO's networks: the policy with a value head."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from svdrift.training import sharding
from svdrift.training.lora import adapt
from svdrift.training.parameters import freeze
from svdrift.training.policy import checkpointing, evaluate_replies
from svdrift.training.ppo.settings import Settings
from svdrift.training.rollout import Rollouts


class ActorCritic(nn.Module):
    """Policy and value head in one module, so that one wrapper averages every gradient.

    Dropout stays off, in training too: rollout and update must see the same policy.
    """

    def __init__(self, policy: PreTrainedModel, settings: Settings, seed: int) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.policy = policy
        if settings.gradient_checkpointing:
            policy.gradient_checkpointing_enable({"use_reentrant": False})
        freeze(policy, embeddings=settings.freeze_embeddings)
        separate = settings.value_model == "separate"
        self.critic = copy.deepcopy(policy.base_model) if separate else None
        adapt(policy, settings.lora, seed)  # after the critic's copy, which trains its own weights
        width = int(policy.config.get_text_config().hidden_size)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.value_head = nn.Sequential(
                nn.Linear(width, width // 4),
                nn.ReLU(),
                nn.Linear(width // 4, width // 8),
                nn.ReLU(),
                nn.Linear(width // 8, 1),
            )
        self.eval()

    def shard(self) -> None:
        """Keep only this process's pieces of the networks, each of them gathered on its own."""
        for network in (self.policy, self.critic, self.value_head):
            if network is not None:
                sharding.shard(network)

    def forward(self, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate what was sampled.

        Returns:
            Log-probabilities of the sampled tokens and entropies of their distributions, both
            [N, T] and 0 elsewhere; values before the actions, [N, A], 0 outside the mask.
        """
        with checkpointing(self, torch.is_grad_enabled()):
            log_probs, entropy, hidden = evaluate_replies(self.policy, rollouts, self.temperature)
            if self.critic is not None:
                inputs = rollouts.tokens[:, :-1]
                hidden = self.critic(input_ids=inputs, use_cache=False).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device).unsqueeze(1)
        values = self.value_head(hidden[rows, rollouts.states]).squeeze(-1)
        return log_probs, entropy, values.float() * rollouts.mask
