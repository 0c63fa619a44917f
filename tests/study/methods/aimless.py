"""A method that trains for a while and has no budget to match."""

from svdrift.training.method import Method, MethodSettings

METHOD = Method("Aimless", ())


class Settings(MethodSettings):
    @property
    def total(self) -> int:
        return 3


def train(run):
    raise NotImplementedError  # a graph trains nothing
