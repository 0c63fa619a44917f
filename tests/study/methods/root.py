"""A method that makes a model from nothing, in one go."""

from svdrift.training.method import Method, MethodSettings

METHOD = Method("Root", (), learns_from="nothing", starts=False, launched=False)


class Settings(MethodSettings):
    size: int = 1

    @property
    def total(self) -> int:
        return 0


def train(run):
    raise NotImplementedError  # a graph trains nothing
