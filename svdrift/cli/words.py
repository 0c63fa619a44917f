"""What people write for shares, and how options, sizes and times are named to them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from svdrift.errors import UserError

MODEL = "a folder, ORG/NAME of the hub, package:NAME, a .gguf or .safetensors file, or an adapter"
NUMBER = r"\d+(?:\.\d*)?|\.\d+"
ONE = re.compile(rf"({NUMBER})(%?)")
TWO = re.compile(rf"({NUMBER})(%?)-({NUMBER})(%?)")


def share(option: str, text: str) -> float:
    """Read `0.2` or `20%` as a share from 0 to 1.

    Args:
        option: by its name.
        text: what was given.

    Raises:
        UserError: another form, or beyond 1.
    """
    match = ONE.fullmatch(text.replace(" ", ""))
    if match is None or not 0 <= (value := _value(*match.groups())) <= 1:
        raise UserError(
            f"{option}: a share from 0 to 1 such as 0.2, or percent such as 20%, not {text}"
        )
    return value


def block(option: str, text: str) -> tuple[float, float]:
    """Read `0-25%`, `0%-25%` or `0-0.25` as a block of the depth.

    Args:
        option: by its name.
        text: what was given.

    Raises:
        UserError: another form, beyond 1, or an end that does not come after its start.
    """
    match = TWO.fullmatch(text.replace(" ", ""))
    if match:
        first, sign, last, percent = match.groups()
        start, stop = _value(first, sign or percent), _value(last, percent or sign)
        if 0 <= start < stop <= 1:
            return start, stop
    raise UserError(
        f"{option}: a block of the depth in percent such as 0-25%, or in shares such as 0-0.25, "
        f"not {text}"
    )


def _value(number: str, percent: str) -> float:
    return float(number) / 100 if percent else float(number)


def patterns_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--patterns`, which `svdrift.spectra.layouts.own_patterns` reads."""
    parser.add_argument(
        "--patterns",
        nargs="+",
        default=[],
        metavar="NAME=REGEX",
        help="kinds of module of a model whose tensors have other names, by an expression for the "
        "whole name with {layer} for the layer's number; without --modules these alone are taken",
    )


@contextmanager
def as_options(options: Mapping[str, str]) -> Iterator[None]:
    """Let errors of the library, which name its arguments, name the options of the command.

    Args:
        options: how a message begins (before its colon), to what it begins with here.
    """
    try:
        yield
    except UserError as error:
        key, colon, rest = str(error).partition(": ")
        if not colon or key not in options:
            raise
        raise UserError(f"{options[key]}: {rest}") from None
