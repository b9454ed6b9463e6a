"""Lines on which averages over the sphere are exact: few directions for powers of the Laplacian."""

from __future__ import annotations

from fractions import Fraction
from math import cos, pi, sin, sqrt

Row = tuple[float | Fraction, ...]


def sphere_lines(dim: int, degree: int) -> tuple[list[Row], list[float]]:
    """Unit vectors v_r and weights w_r that average powers ``(v·ξ)^k``, k <= degree, as the sphere does.

    Each line stands for its two points ±v, so that odd powers vanish: a formula of degree K on lines is one
    of degree K + 1 on points. The weights add up to one; some are negative for dim > 7 at degree 4.

    Parameters
    ----------
    dim : int
    degree : int
        2 or 4; in two dimensions any even number.

    Returns
    -------
    The lines and their weights. Counts at degree 4:

    ======  =====================  ===========================================================
    dim     lines                  construction
    ======  =====================  ===========================================================
    2       3                      regular hexagon
    3       6                      regular icosahedron: one axis, a lifted pentagon
    4 to 6  (d² + d + 2) / 2       one axis, a lifted simplex formula of dimension d - 1
    7       28                     midpoints of the simplex alone (the lines of E_7)
    others  (d + 1)(d + 2) / 2     vertices and midpoints of the edges of a simplex
    ======  =====================  ===========================================================

    At least d (d + 1) / 2 are necessary: their squares span the quadratic forms.

    Raises
    ------
    ValueError
        If there is no formula of that degree.

    Notes
    -----
    Source: I. P. Mysovskikh, *The approximation of multiple integrals by using interpolatory cubature
    formulae*, 1980 (simplex); A. H. Stroud, *Some fifth degree integration formulas for symmetric regions
    II*, Numerische Mathematik 9, 1967 (the counts 11, 16 and 22).

    Examples
    --------
    >>> [len(sphere_lines(dim, 4)[0]) for dim in range(1, 9)]
    [1, 3, 6, 11, 16, 22, 28, 45]
    """
    if dim < 1:
        raise ValueError(f"sphere_lines: the dimension must be at least 1, got {dim}.")
    even = degree > 0 and degree % 2 == 0
    if degree == 2 or (dim == 1 and even):
        return [unit(i, dim) for i in range(dim)], [1.0 / dim] * dim
    if dim == 2 and even:
        return _polygon(degree // 2 + 1)
    if degree != 4:
        raise ValueError(
            f"sphere_lines: formulas are known of degree 2 and 4, in two dimensions of any even degree; got "
            f"degree={degree} for dim={dim}."
        )
    if dim == 3:
        return _lifted_pentagon()
    return _lifted_simplex(dim) if dim < 7 else _simplex(dim)


def unit(index: int, dim: int) -> Row:
    """A row of the identity."""
    return tuple(Fraction(int(i == index)) for i in range(dim))


def _polygon(count: int) -> tuple[list[Row], list[float]]:
    angles = [pi * k / count for k in range(count)]
    return [(cos(a), sin(a)) for a in angles], [1.0 / count] * count


def _lifted_pentagon() -> tuple[list[Row], list[float]]:
    # Five lines at the height 1/sqrt(5) above the plane of a regular pentagon, and the axis.
    height = sqrt(0.2)
    lines: list[Row] = [(Fraction(1), Fraction(0), Fraction(0))]
    for k in range(5):
        angle = 2 * pi * k / 5
        lines.append((height, 2 * height * cos(angle), 2 * height * sin(angle)))
    return lines, [1 / 6] * 6


def _vertices(dim: int) -> list[Row]:
    """The dim + 1 unit vectors with mutual inner products -1/dim."""
    rows: list[Row] = []
    for i in range(dim + 1):
        row = [0.0] * dim
        for j in range(min(i, dim)):
            row[j] = -sqrt((dim + 1) / (dim * (dim - j) * (dim - j + 1)))
        if i < dim:
            row[i] = sqrt((dim + 1) * (dim - i) / (dim * (dim - i + 1)))
        rows.append(tuple(row))
    return rows


def _midpoints(vertices: list[Row]) -> list[Row]:
    dim = len(vertices) - 1
    # |a_i + a_j|² = 2 - 2/dim
    scale = 1.0 / sqrt(2 - 2 / dim)
    return [
        tuple(scale * (p + q) for p, q in zip(vertices[i], vertices[j], strict=True))
        for i in range(dim + 1)
        for j in range(i)
    ]


def _simplex_weights(dim: int) -> tuple[float, float]:
    """Of a vertex and of a midpoint; the first vanishes at dim = 7."""
    return (
        dim * (7 - dim) / ((dim + 1) ** 2 * (dim + 2)),
        4 * (dim - 1) ** 2 / (dim * (dim + 1) ** 2 * (dim + 2)),
    )


def _simplex(dim: int) -> tuple[list[Row], list[float]]:
    vertices = _vertices(dim)
    midpoints = _midpoints(vertices)
    of_vertex, of_midpoint = _simplex_weights(dim)
    if not of_vertex:
        return midpoints, [of_midpoint] * len(midpoints)
    return vertices + midpoints, [of_vertex] * len(vertices) + [of_midpoint] * len(midpoints)


def _lifted_simplex(dim: int) -> tuple[list[Row], list[float]]:
    """The simplex formula of dimension m = dim - 1, its lines raised along one more axis, and that axis.

    With ξ = (s, η) and lines (β, a) above vertices, (γ, b) above midpoints, ``|ξ|⁴ = s⁴ + 2 s²|η|² + |η|⁴``
    asks for: |η|⁴ from the simplex formula; no s Σ η³, whose moments over vertices and midpoints are
    multiples of one cubic form, which fixes β/γ; 2 s²|η|², which fixes β²; s⁴ by the axis.
    """
    m = dim - 1
    vertices = _vertices(m)
    midpoints = _midpoints(vertices)
    # |η|⁴ is m (m + 2)/3 times its average over the sphere.
    w_vertex, w_midpoint = (m * (m + 2) / 3 * w for w in _simplex_weights(m))
    # Σ_i (a_i·a_0)³ over vertices and over midpoints, the cubic form at a vertex.
    cubic_vertex, cubic_midpoint = (
        sum(sum(float(p) * float(q) for p, q in zip(row, vertices[0], strict=True)) ** 3 for row in rows)
        for rows in (vertices, midpoints)
    )
    ratio = -w_midpoint * cubic_midpoint / (w_vertex * cubic_vertex)  # β = ratio γ
    # Σ (a·η)² = count/m |η|², and the coefficient of s² is 6 w β².
    moment = w_vertex * len(vertices) * ratio**2 + w_midpoint * len(midpoints)
    height = sqrt(m / (3 * moment))  # γ
    beta = ratio * height
    axis = 1 - w_vertex * len(vertices) * beta**4 - w_midpoint * len(midpoints) * height**4
    lines: list[Row] = [(1.0, *[0.0] * m)]
    weights = [axis]
    for raised, w, rows in ((beta, w_vertex, vertices), (height, w_midpoint, midpoints)):
        length = sqrt(1 + raised**2)
        lines += [(raised / length, *(float(e) / length for e in row)) for row in rows]
        weights += [w * length**4] * len(rows)
    # Back to averages over the sphere of dimension dim.
    return lines, [3 * w / (dim * (dim + 2)) for w in weights]
