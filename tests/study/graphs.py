"""Graphs of stages by small methods of the tests' own."""

from pathlib import Path
from typing import Any

from svdrift.study.stages import Graph

METHODS = Path(__file__).parent / "methods"
ROOT, LEARN, PLAY, AIMLESS = (
    str(METHODS / f"{name}.py") for name in ("root", "learner", "player", "aimless")
)
SPLITS = ("lessons", "practice")

BASE: dict[str, Any] = {"method": ROOT}
SFT: dict[str, Any] = {"method": LEARN, "from": "base", "on": "lessons", "keep": [4, 8]}
PPO: dict[str, Any] = {"method": PLAY, "from": ["sft@4", "sft@end"], "on": "practice"}
MORE: dict[str, Any] = {
    "method": LEARN,
    "from": "starts of ppo",
    "on": "lessons",
    "matches": "ppo",
}
STAGES: dict[str, Any] = {"base": BASE, "sft": SFT, "ppo": PPO, "more": MORE}


def graph(changes: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> Graph:
    """The graph of `STAGES` with some of them replaced (null removes one) or added."""
    return Graph(STAGES | (changes or {}), data or {}, SPLITS)
