"""What is restored: the kind, ranks, layers and modules. Quick to import: settings read it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any

from svdrift.errors import UserError
from svdrift.recovery import kind as kinds
from svdrift.recovery.shares import Shares, matrix_name, read_shares
from svdrift.section import Seed


@dataclass(frozen=True)
class Intervention:
    """One way to give a target checkpoint something of an anchor checkpoint.

    With W = U diag(s) V^T for target (t) and anchor (a), and I the chosen ranks (arXiv 2508.16546):

    - `directions` ("UV merging"): u_t and v_t of I replaced by u_a and v_a, s_t kept;
    - `triplets`: u, s and v of I replaced; `values`: s of I replaced, vectors kept;
    - `random_directions`: u_t and v_t of I turned at random, so that the matrix changes by the same
      Frobenius norm as under `directions`: the control for the size of the change;
    - `per_matrix`: `directions` with a share of the ranks for each matrix (`shares`);
    - `interpolate`: (1 - weight) W_t + weight W_a (WiSE-FT, Wortsman et al. 2022); `reset`: W_a;
    - `restore_entries`: W_a at a share `weight` of the entries, those that moved most relative to
      their size in W_a (after arXiv 2509.16596);
    - `trim`: W_a at a share `weight` of the entries, those that moved least (TIES, arXiv
      2306.01708);
    - `drop_and_rescale`: W_a at a share `weight` of the entries, drawn at random, and what the
      others moved divided by 1 - weight (DARE, arXiv 2311.03099);
    - `scale_layers`: the update of the first of L layers times 1 - weight, of the last times 1, and
      linear in between (LiNeS, arXiv 2410.17146).

    All but the first four and `per_matrix` act on whole matrices and, when no `modules` are chosen,
    on the norms and biases of the chosen layers too (with `embedding_and_head`, on all tensors
    outside layers).

    Raises:
        UserError: a value is out of range, or does not belong to the kind.
    """

    kind: str  # the name of a file in `kinds/`, or the path of one
    top: float = 0.0  # ranks as shares of the full rank, from the largest singular value
    bottom: float = 0.0  # and from the smallest
    layers: tuple[float, float] = (0.0, 1.0)  # block of layers as shares of the depth
    modules: tuple[str, ...] | None = None  # inside the layers; None: all
    embedding_and_head: bool = True  # as published, in every block of layers
    weight: float | None = None  # of the anchor, for interpolate; of other kinds see above
    full_rank_reset: bool = False  # published shortcut: at the full rank take W_a, values included
    seed: Seed = 0  # of kinds that draw; each target has draws of its own
    shares: Shares | None = None  # of per_matrix: all that `read_shares` takes

    def __post_init__(self) -> None:
        try:
            record = kinds.kind(self.kind)
        except UserError as error:
            raise UserError(f"kind: {error}") from None
        if not (0 <= self.top <= 1 and 0 <= self.bottom <= 1 and self.top + self.bottom <= 1):
            raise UserError(
                f"top, bottom: shares of the rank from 0 to 1 that sum to 1 at most, "
                f"not {self.top} and {self.bottom}"
            )
        if not record.ranked and (self.top or self.bottom):
            raise UserError(f"top, bottom: {self.kind} takes whole matrices, not ranks")
        if record.by_matrix and (self.top or self.bottom):
            raise UserError(f"top, bottom: {self.kind} has a share for each matrix (shares)")
        if record.by_matrix != (self.shares is not None):
            needs = "needs one for each matrix" if record.by_matrix else "has none"
            raise UserError(f"shares: {self.kind} {needs}")
        if self.shares is not None:
            object.__setattr__(self, "shares", read_shares(self.shares))
        start, stop = self.layers
        if not 0 <= start < stop <= 1:
            raise UserError(f"layers: a block of the depth such as [0, 0.25], not {self.layers}")
        if record.weighted != (self.weight is not None):
            needs = "needs one" if record.weighted else "has none"
            raise UserError(f"weight: {self.kind} {needs}")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise UserError(f"weight: from 0 (target) to 1, not {self.weight}")
        if self.modules is not None and (
            not self.modules or len(set(self.modules)) < len(self.modules)
        ):
            raise UserError(f"modules: a list of different modules, not {list(self.modules)}")
        if self.full_rank_reset and self.kind != "directions":
            raise UserError(f"full_rank_reset: an option of directions, not of {self.kind}")
        if self.seed and not record.random:
            raise UserError(f"seed: {self.kind} draws nothing")

    @property
    def ranked(self) -> bool:
        """Whether it acts on chosen ranks; else on whole tensors."""
        return kinds.kind(self.kind).ranked

    @property
    def id(self) -> str:
        """Short name, fit for paths and legends: what differs from the defaults, in fixed order.

        `directions-top0.2-layers0-0.25`, `interpolate-weight0.5`, `reset-layers0.5-1-inside`;
        of shares a digest.
        """
        parts: list[str] = [PurePath(self.kind).stem]
        if self.shares is not None:
            parts.append(hashlib.sha256(repr(self.shares).encode()).hexdigest()[:8])
        elif self.ranked:
            parts += [f"top{_short(self.top)}"] if self.top or not self.bottom else []
            parts += [f"bottom{_short(self.bottom)}"] if self.bottom else []
        if self.weight is not None:
            parts.append(f"weight{_short(self.weight)}")
        if self.layers != (0, 1):
            parts.append("layers" + "-".join(_short(share) for share in self.layers))
        parts += ["_".join(self.modules)] if self.modules is not None else []
        parts += ["inside"] if not self.embedding_and_head else []
        parts += ["published"] if self.full_rank_reset else []
        parts += [f"seed{self.seed}"] if self.seed else []
        return "-".join(parts)

    def top_of(self, layer: int | None, module: str) -> float:
        """The share of a matrix's ranks that is replaced, from the largest singular value."""
        return self.top if self.shares is None else dict(self.shares)[matrix_name(layer, module)]

    def plain(self) -> dict[str, Any]:
        """Every field as JSON has it; no shares where there are none."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        shares = found.pop("shares")
        return found if shares is None else found | {"shares": dict(shares)}

    def chosen_layers(self, depth: int) -> range:
        """Layers of the block in a model of `depth` layers; adjoining blocks share none.

        Raises:
            UserError: the block holds no layer.
        """
        start, stop = (math.floor(share * depth + 0.5) for share in self.layers)
        if start == stop:
            block = "-".join(f"{100 * share:g}" for share in self.layers)
            raise UserError(f"layers: {block}% holds none of {depth} layers")
        return range(start, stop)

    def columns(self) -> dict[str, object]:
        """Every choice as plain values, for the columns of a table; `seed` as `draw`.

        Shares have no column: the id tells them apart.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        del plain["shares"]
        start, stop = plain.pop("layers")
        modules = "all" if self.modules is None else " ".join(self.modules)
        plain["draw"] = plain.pop("seed")  # a table has the seed of its study
        plain["weight"] = math.nan if self.weight is None else self.weight
        return {**plain, "modules": modules, "layers_start": start, "layers_stop": stop}


def _short(share: float) -> str:
    return repr(float(share)).removesuffix(".0")
