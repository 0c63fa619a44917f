"""Shares and blocks as people write them, and errors that name options."""

from __future__ import annotations

import pytest

from svdrift.cli.threads import cores, use_threads
from svdrift.cli.words import as_options, block, share
from svdrift.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.2", 0.2), ("20%", 0.2), ("20 %", 0.2), (".5", 0.5), ("1", 1.0), ("100%", 1.0), ("0", 0.0)],
)
def test_shares(text, value):
    assert share("--ranks", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["20", "1.5", "120%", "-0.2", "a", "", "nan", "1e-1"])
def test_no_shares(text):
    with pytest.raises(UserError, match=r"^--ranks: a share from 0 to 1 such as 0.2, or percent"):
        share("--ranks", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0-25%", (0, 0.25)),
        ("0%-25%", (0, 0.25)),
        ("0-0.25", (0, 0.25)),
        ("12.5 - 50 %", (0.125, 0.5)),
        ("0-1", (0, 1)),
        ("0-1%", (0, 0.01)),
    ],
)
def test_blocks(text, value):
    assert block("--layers", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0-7", "50-5%", "0.5-0.25", "0-101%", "25%", "a-b", "5-5%"])
def test_no_blocks(text):
    with pytest.raises(UserError, match=r"^--layers: a block of the depth"):
        block("--layers", text)


def test_errors_name_options():
    with pytest.raises(UserError, match=r"^--ranks: too many$"), as_options({"shares": "--ranks"}):
        raise UserError("shares: too many")
    with pytest.raises(UserError, match=r"^file: other$"), as_options({"shares": "--ranks"}):
        raise UserError("file: other")


@pytest.mark.parametrize("threads", [0, -1, cores() + 1])
def test_no_more_threads_than_cores(threads):
    with pytest.raises(UserError, match=f"^--threads: from 1 to {cores()}, "):
        use_threads(threads)
