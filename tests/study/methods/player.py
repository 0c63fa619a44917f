"""A method that plays episodes, and cannot match another one."""

from svdrift.training.method import Budget, Method, MethodSettings

METHOD = Method("Player", (), unit="update", plays=True)


class Settings(MethodSettings):
    updates: int = 6
    episodes: int = 4

    @property
    def total(self) -> int:
        return self.updates

    @property
    def budget(self) -> Budget | None:
        return Budget(2 * self.updates, self.episodes, 0.5, False, True)


def train(run):
    raise NotImplementedError  # a graph trains nothing
