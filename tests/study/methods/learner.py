"""A method that learns from problems and can match another one's budget."""

from typing import Any

from svdrift.training.method import Budget, Method, MethodSettings

METHOD = Method("Learner", ("losses",))


class Settings(MethodSettings):
    steps: int = 16
    batch_size: int = 8
    learning_rate: float = 0.1

    @property
    def total(self) -> int:
        return self.steps

    @property
    def budget(self) -> Budget | None:
        return Budget(self.steps, self.batch_size, self.learning_rate, False, True)

    @classmethod
    def matching(cls, other: MethodSettings) -> dict[str, Any]:
        budget = other.budget
        if budget is None:
            raise ValueError("it has no budget to match")
        return {
            "steps": budget.steps,
            "batch_size": budget.batch_size,
            "learning_rate": budget.learning_rate,
        }


def train(run):
    raise NotImplementedError  # a graph trains nothing
