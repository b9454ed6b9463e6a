"""Exact and random evaluation of differential operators: estimators are values.

Every estimator is unbiased: its expectation over the directions is the operator, at every point and for every
u. One set of directions serves all points of a batch (which lets a first layer gather columns instead of
multiplying matrices), unless ``per_point=True``. Randomness comes from the generator that is passed, and from
nowhere else.

Below, R is the number of samples, H the Hessian of u at a point and t its trace. For ``tr(A Hess u)`` read
the symmetric part of ``A H`` for H, with a factor ``A = σ σᵀ`` read ``σᵀ H σ``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal, Protocol, get_args

import torch
from torch import Generator, Tensor

from sciml.kernels.cubature import sphere_lines
from sciml.kernels.draws import normal, orthonormal, signs, uniform, with_replacement, without_replacement
from sciml.kernels.forms import Form, LineForm, MatrixForm, PlannedForm, SquaredLaplacian, polarized
from sciml.kernels.jet import Directions

Distribution = Literal["rademacher", "gaussian", "sphere", "orthogonal"]


class Estimator(Protocol):
    """What turns an operator into directions. The classes of this module are the usual ones."""

    @property
    def draws_summands(self) -> bool:
        """Whether `directions` asks a form for its summands only, not for their directions in x."""

    def turns(self, form: Form) -> bool:
        """Whether its law is the same in every orthonormal basis, if the form is.

        Then a function that depends on few linear combinations of its variables may be seen in these.
        """

    def is_random(self, form: Form, x: Tensor) -> bool:
        """Whether `directions` needs a generator for this form."""

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        """Weighted lines whose sum is the form, exactly or in expectation."""


@dataclass(frozen=True)
class Exact:
    """The operator itself, along the smallest set of lines that is known. Its variance is zero.

    Lines: d for the Laplacian and for ``Σ_i u_iii``, the rank of A for ``tr(A Hess u)`` (``d (d + 1)/2`` if a
    gradient with respect to the matrix is asked for), those of `sciml.kernels.cubature.sphere_lines` for
    the squared Laplacian, and those of the plan for any other operator.
    """

    @property
    def draws_summands(self) -> bool:
        return True

    def turns(self, form: Form) -> bool:
        return True

    def is_random(self, form: Form, x: Tensor) -> bool:
        return False

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        return (form.lines(x),)


@dataclass(frozen=True)
class CubatureLines:
    """Powers of the Laplacian from formulas that average polynomials over the sphere exactly. No variance.

    Parameters
    ----------
    degree : int
        2 or 4, in two dimensions any even number; at least the order of the operator. The lines of degree 4
        give Laplacian and squared Laplacian together.
    """

    degree: int = 4

    @property
    def draws_summands(self) -> bool:
        return False

    def turns(self, form: Form) -> bool:
        return True

    def is_random(self, form: Form, x: Tensor) -> bool:
        return False

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        d = x.shape[1]
        squared = _squared_laplacian(form, x)
        laplacian = (
            isinstance(form, LineForm) and form.order == 2 and form.vectors is None and form.weights is None
        )
        if squared is None and not laplacian and form.order > 1:
            raise ValueError(
                "CubatureLines: averages over the sphere are powers of the Laplacian, got another operator "
                f"of order {form.order}. Exact() evaluates it along the lines of its plan."
            )
        if form.order > self.degree:
            raise ValueError(
                f"CubatureLines: an operator of order {form.order} needs a formula of at least that degree, "
                f"got degree={self.degree}."
            )
        if squared is not None:
            return (squared.cubature(x, self.degree),)
        if form.order == 1:
            return (form.lines(x),)
        lines, weights = sphere_lines(d, self.degree)
        rows = x.new_tensor([[float(e) for e in v] for v in lines])
        return (Directions(2, rows, d * x.new_tensor(weights)),)


@dataclass(frozen=True)
class SparseDirections:
    """Some of the summands of an operator, scaled up: ``(P/R) Σ_{j in J} c_j`` for a sum of P summands c_j.

    The summands are the second derivatives u_ii for the Laplacian (P = d), u_iii for their like of third
    order, the products ``A_i · Hess u_i`` of rows for ``tr(A Hess u)`` or those along the columns of a
    factor, pairs of variables for the squared Laplacian, and the terms of any other operator. Orders are
    sampled one by one, first derivatives are exact.

    Parameters
    ----------
    samples : int
        R. Without replacement, R >= P is the exact value.
    replacement : bool
        Whether a summand may be drawn more than once.
    per_point : bool
        Whether each point has summands of its own.

    Notes
    -----
    Variance with replacement: ``(P Σ_j c_j² - (Σ_j c_j)²) / R``. Without: that times ``(P - R)/(P - 1)``. It
    is small where the summands are alike, and does not see other derivatives (for the Laplacian:
    off-diagonals).

    Source: Z. Hu et al., *Tackling the curse of dimensionality with physics-informed neural networks* (SDGD),
    arXiv:2307.12306; Z. Shi et al., *Stochastic Taylor derivative estimator*, arXiv:2412.00088, section 4.2.
    """

    samples: int
    replacement: bool = False
    per_point: bool = False

    def __post_init__(self) -> None:
        _check_samples("SparseDirections", self.samples)

    @property
    def draws_summands(self) -> bool:
        return True

    def turns(self, form: Form) -> bool:
        return False

    def is_random(self, form: Form, x: Tensor) -> bool:
        return form.order > 1 and (self.replacement or self.samples < form.count(x))

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        drawn = self.draw(form, x, generator)
        if drawn is None:
            return (form.lines(x),)
        return (form.some(x, drawn, form.count(x) / self.samples),)

    def draw(self, form: Form, x: Tensor, generator: Generator | None) -> Tensor | None:
        """The numbers of the summands, (R,) or (R, batch); None for all."""
        if not self.is_random(form, x):
            return None
        generator = _required("SparseDirections", generator)
        shape = (self.samples, x.shape[0]) if self.per_point else (self.samples,)
        draw = with_replacement if self.replacement else without_replacement
        return draw(form.count(x), shape, generator).to(x.device)


@dataclass(frozen=True)
class Hutchinson:
    """Quadratic forms of random vectors, ``E vᵀ H v = tr H`` if ``E v vᵀ = I``; and squared Laplacians.

    Parameters
    ----------
    samples : int
        R, the number of vectors.
    distribution : "rademacher", "gaussian", "sphere" or "orthogonal"
        Signs; normal numbers; points of the sphere of radius √d; columns of a random orthogonal matrix times
        √d, of which there are at most d.
    per_point : bool
        Whether each point has vectors of its own.

    Notes
    -----
    Variance of the trace, in which d is the number of columns of σ where there is a factor:

    ==========  ==========================================================
    rademacher  ``2 Σ_{i≠j} H_ij² / R``, zero for separable u
    gaussian    ``2 |H|² / R`` (Frobenius norm)
    sphere      ``V / R`` with ``V = (2 d |H|² - 2 t²)/(d + 2)``, never above gaussian
    orthogonal  ``V / R · (d - R)/(d - 1)``, zero for R = d
    ==========  ==========================================================

    ``tr(A Hess u)`` takes one line per sample with a factor, two with a matrix: ``D²u[v, A v]``, polarized.
    So do planned operators whose weights are not known to be positive.

    Squared Laplacian, with ``T = D⁴u``, its trace ``B_ij = ∂_ij Δu`` and ``τ = Δ²u``: one line per sample
    estimates it by ``c D⁴u[v, v, v, v]``,

    ==========  =================  ====================================================================
    gaussian    c = 1/3            ``(24 |T|² + 72 |B|²) / (9 R)``
    sphere      c = (d + 2)/(3 d)  ``W/R``, ``W = γ (24 |T|² + 72 |B|² + 9 τ²)/9 - τ²`` with
                                   ``γ = d (d + 2)/((d + 4)(d + 6))``
    orthogonal  as sphere          ``[W_2 (1 - (R-1)/(d-1)) + W_4 (1 + 3 (R-1)/((d-1)(d+1)))] / R``,
                                   ``W_2 = 8 d (d + 2) |B - τ/d I|² / (d + 4)²``, ``W_4 = W - W_2``
    rademacher  c = 1/3            ``[Σ_{i<j} (4 T_iiij + 4 T_ijjj + 12 Σ_{k≠i,j} T_ijkk)²
                                   + 576 Σ_{i<j<k<l} T_ijkl²] / (9 R)``
    ==========  =================  ====================================================================

    Signs alone would give ``3 Δ²u - 2 Σ_i u_iiii``, so ``2/3 Σ_i u_iiii`` is added exactly: d more lines.

    Source: M. F. Hutchinson, Communications in Statistics 18, 1989; Z. Hu et al., *Hutchinson trace
    estimation for high-dimensional and high-order PINNs*, arXiv:2312.14499, whose factor for the squared
    Laplacian is 1/(3 R).
    """

    samples: int
    distribution: Distribution = "rademacher"
    per_point: bool = False

    def __post_init__(self) -> None:
        _check_samples("Hutchinson", self.samples)
        if self.distribution not in get_args(Distribution):
            raise ValueError(
                f"Hutchinson: the distribution must be one of {', '.join(get_args(Distribution))}, got "
                f"{self.distribution!r}."
            )

    @property
    def draws_summands(self) -> bool:
        return False

    def turns(self, form: Form) -> bool:
        return self.distribution != "rademacher"

    def is_random(self, form: Form, x: Tensor) -> bool:
        return form.order > 1

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        if form.order == 1:
            return (form.lines(x),)
        generator = _required("Hutchinson", generator)
        squared = _squared_laplacian(form, x)
        if squared is not None:
            return self._fourth(squared, x, generator)
        if isinstance(form, MatrixForm):
            return (form.probe(self._noise(x, x.shape[1], generator), 1 / self.samples),)
        if not isinstance(form, LineForm) or form.order != 2:
            raise ValueError(
                "Hutchinson: random quadratic forms estimate operators of order 2 and the squared Laplacian, "
                f"got another one of order {form.order}. DenseDirections has laws for it."
            )
        rows = x.shape[1] if form.vectors is None else form.vectors.shape[0]
        return _quadratic(form, self._noise(x, rows, generator))

    def _fourth(self, form: SquaredLaplacian, x: Tensor, generator: Generator) -> tuple[Directions, ...]:
        d = x.shape[1]
        radial = self.distribution in ("sphere", "orthogonal")
        weight = (d + 2) / (3 * d) if radial else 1 / 3
        noise = self._noise(x, d, generator)
        random = form.along(noise, x.new_full((self.samples,), weight / self.samples))
        if self.distribution != "rademacher":
            return (random,)
        unit = torch.eye(d, dtype=x.dtype, device=x.device)
        return random, form.along(unit, x.new_full((d,), 2 / 3))

    def _noise(self, x: Tensor, size: int, generator: Generator) -> Tensor:
        """(samples, [batch,] size) with unit covariance."""
        shape = (self.samples, x.shape[0], size) if self.per_point else (self.samples, size)
        if self.distribution == "rademacher":
            return signs(shape, x, generator)
        if self.distribution == "orthogonal":
            if self.samples > size:
                raise ValueError(
                    f"Hutchinson: there are only {size} orthogonal directions, got samples={self.samples}; "
                    f"with {size} the estimate of a trace is exact already."
                )
            return sqrt(size) * orthonormal(shape, x, generator)
        noise = normal(shape, x, generator)
        if self.distribution == "sphere":
            noise = noise * (sqrt(size) / noise.norm(dim=-1, keepdim=True))
        return noise


@dataclass(frozen=True)
class DenseDirections:
    """Random combinations of all lines of any operator of order at most 4.

    For ``Σ_r w_r D^K u[v_r, …, v_r]`` write ``a_r = |w_r|^{1/K} v_r`` and take ``v = Σ_r ξ_r a_r`` with
    independent ξ_r whose moments make all mixed terms vanish:

    * K = 2: signs. Weights that may be negative are handled by ``D²u[v, v']``, ``v' = Σ_r ξ_r w_r v_r``.
    * K = 3: the golden ratio φ with probability 1/(φ² + 1), else -1/φ: mean 0, second and third moment 1.
    * K = 4: the moments of no single law would do, as ``E ξ_r² ξ_s²`` is positive. The difference of two laws
      with equal second moments does: signs ε_r, and ε_r times √2 or 0 with probability 1/2. Two lines per
      sample, and two more where weights may be negative.

    Squared Laplacians use vectors on the sphere instead (`Hutchinson`), with one line per sample.

    Parameters
    ----------
    samples : int
        R.
    per_point : bool
        Whether each point has directions of its own.

    Notes
    -----
    Variance, with ``T = D^K u`` in the coordinates a_r, e.g. ``T_rst = D³u[a_r, a_s, a_t]``:

    * K = 2: that of `Hutchinson` with signs.
    * K = 3: ``{Σ_r (2 T_rrr + 3 Σ_{s≠r} T_rss)² + 9 Σ_{r<s} (T_rrs + T_rss)² + 36 Σ_{r<s<t} T_rst²} / R``.
    * K = 4: ``{Σ_r (2 T_rrrr + 6 Σ_{s≠r} T_rrss)² + 36 Σ_{r<s} T_rrss² + Σ_{r<s} S_rs
      + 864 Σ_{r<s<t<q} T_rstq²} / R`` where ``S_rs = E²/4 + 3 (C + E/2)² + Σ_t E_t²`` with
      ``C = 4 (T_rrrs + T_rsss)``, ``E_t = 12 T_rstt`` for t ≠ r, s, and E their sum. Lines with positive and
      with negative weights are two groups with ξ of their own, whose variances add.

    Source: the idea of moments that match the coefficients is that of Shi et al., arXiv:2412.00088, section
    4.4; the laws of order 3 and 4 follow from the conditions above.
    """

    samples: int
    per_point: bool = False

    def __post_init__(self) -> None:
        _check_samples("DenseDirections", self.samples)

    @property
    def draws_summands(self) -> bool:
        return False

    def turns(self, form: Form) -> bool:
        return isinstance(form, SquaredLaplacian)

    def is_random(self, form: Form, x: Tensor) -> bool:
        return form.order > 1

    def directions(self, form: Form, x: Tensor, generator: Generator | None) -> tuple[Directions, ...]:
        if form.order == 1:
            return (form.lines(x),)
        generator = _required("DenseDirections", generator)
        if _squared_laplacian(form, x) is not None:
            return Hutchinson(self.samples, "sphere", self.per_point).directions(form, x, generator)
        if form.order == 2:
            return Hutchinson(self.samples, "rademacher", self.per_point).directions(form, x, generator)
        if not isinstance(form, LineForm) or form.order > 4:
            raise ValueError(
                f"DenseDirections: laws are known for operators of order at most 4, got order {form.order}. "
                "SparseDirections draws terms of any operator."
            )
        return self._third(form, x, generator) if form.order == 3 else self._fourth(form, x, generator)

    def _shape(self, form: LineForm, x: Tensor) -> tuple[int, ...]:
        rows = x.shape[1] if form.vectors is None else form.vectors.shape[0]
        return (self.samples, x.shape[0], rows) if self.per_point else (self.samples, rows)

    def _third(self, form: LineForm, x: Tensor, generator: Generator) -> tuple[Directions, ...]:
        golden = (1 + sqrt(5)) / 2
        number = uniform(self._shape(form, x), x, generator)
        noise = (number < 1 / (golden**2 + 1)).to(x) * sqrt(5) - 1 / golden  # φ - (-1/φ) = √5
        root = None
        if form.weights is not None:  # the sign of a weight is the sign of its root
            root = _root(form.weights, 3) - _root(-form.weights, 3)
        return (Directions(3, form.mix(noise, root), x.new_full((self.samples,), 1 / self.samples)),)

    def _fourth(self, form: LineForm, x: Tensor, generator: Generator) -> tuple[Directions, ...]:
        each = x.new_full((self.samples,), 1 / self.samples)
        groups = []
        for sign in (1.0,) if form.positive else (1.0, -1.0):
            noise = signs(self._shape(form, x), x, generator)
            kept = sqrt(2.0) * (uniform(self._shape(form, x), x, generator) < 0.5).to(x)
            root = None if form.weights is None else _root(sign * form.weights, 4)
            vectors = torch.cat((form.mix(noise * kept, root), form.mix(noise, root)))
            groups.append(Directions(4, vectors, sign * torch.cat((each, -each))))
        return tuple(groups)


def _quadratic(form: LineForm, noise: Tensor) -> tuple[Directions, ...]:
    samples = noise.shape[0]
    each = noise.new_full((samples,), 1 / samples)
    if form.weights is None:
        return (Directions(2, form.mix(noise), each),)
    if form.positive:
        return (Directions(2, form.mix(noise, form.weights.sqrt()), each),)
    left, right = torch.broadcast_tensors(form.mix(noise), form.mix(noise, form.weights))
    return (polarized(left, right, 1 / samples),)


def _squared_laplacian(form: Form, x: Tensor) -> SquaredLaplacian | None:
    if isinstance(form, SquaredLaplacian):
        return form
    return form.squared_laplacian(x) if isinstance(form, PlannedForm) else None


def _root(values: Tensor, order: int) -> Tensor:
    """The K-th root of the positive ones, zero for the others, with finite gradients."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1.0) ** (1 / order), 0.0)


def _check_samples(who: str, samples: int) -> None:
    if samples < 1:
        raise ValueError(f"{who}: expected at least one sample, got samples={samples}.")


def _required(who: str, generator: Generator | None) -> Generator:
    if generator is None:
        raise ValueError(
            f"{who}: the directions are random, so pass generator=torch.Generator().manual_seed(...) or a "
            "number as seed. A generator gives other directions at every call, a seed always the same."
        )
    return generator
