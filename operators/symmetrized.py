"""Any operator made equivariant to reflections, rotations and permutations of a box, by averaging."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sciml.calling import EXTRAS
from sciml.description import describable
from sciml.errors import ConfigError, ShapeError, nearest
from sciml.operators.fno import FNO
from sciml.operators.properties import Properties
from sciml.signed_permutations import GROUPS, SignedPermutation, signed_permutations

Group = Literal["reflections", "permutations", "rotations", "full"]
IN_TRAINING = ("average", "step", "sample")
KINDS = ("scalar", "pseudoscalar", "vector")
_NO_GRID = ("neighbors", "functions", "queries")  # extras of points, which no element moves


@describable
class Symmetrized(nn.Module):
    r"""The average ``S(a) = 1/|G| Σ_g g⁻¹ M(g a)`` of an operator M over a finite group G of a box.

    ``(g a)(ξ) = a(g⁻¹ ξ)``.  S commutes with every h in G, ``S(h a) = h S(a)``, whatever M is, because g h
    runs over all of G as g does.  M sees for every g the same coordinates, those of the points where it
    computes; with `mirror` the points move along with the fields.

    Parameters
    ----------
    model : nn.Module
        Any operator on regular grids, ``(batch, channel, *space)``.
    group : str
        "reflections" of the axes, 2^d elements; "permutations" of the axes, d!; "full", all 2^d d! symmetries
        of the square or cube (D4 in two dimensions); "rotations", the half of "full" without mirroring.
    axes : sequence of int, optional
        The axes that take part, by default all.  Those that are permuted must have equal lengths (which the
        caller knows), equal conventions, and equally many points (which is checked).
    in_training : str
        "average" computes S in training mode too, |G| evaluations of the model; "step" takes one random g for
        each call and "sample" one for each sample, ``g⁻¹ M(g a)``: augmentation of the data, at the cost of
        one evaluation.  Drawn from torch's global generator.  Evaluation mode always averages.
    inputs, outputs : sequence of str
        What the channels are: "scalar"; "pseudoscalar", which changes sign under mirroring (the vorticity of
        a plane flow); "vector", one channel for each axis, x first.  By default all are scalars.  Vectors and
        pseudoscalars must be normalized with mean zero, vectors with one scale for all components.
    periodic_nodes : bool
        Whether the points of periodic axes are nodes without the right end; a reflection then keeps the first
        point.  For cells, periodic or not, and for nodes with both ends leave it at False.
    mirror : float, optional
        For points that a reflection does not map onto themselves, of an operator M with coordinates: a
        reflection takes the unit coordinate ξ to ``mirror - ξ`` (mirror is the sum of both walls), and M
        gets the moved fields at their moved points.  S is then equivariant for fields and points together.
        On points that the group keeps, 1 changes nothing.

    Attributes
    ----------
    properties : Properties
        Those of the model.
    requires : tuple of str
        Those of the model.

    Raises
    ------
    ConfigError
        For an unknown group or kind, a model that does not live on a grid, or a mirror for periodic nodes or
        for a model without coordinates.

    Notes
    -----
    Right for a problem whose solution operator has the symmetry: coefficient, forcing, boundary conditions
    and domain taken together.  ``-div(a grad u) = const`` on the square with ``u = 0`` on all sides: "full".
    A forcing or a boundary condition without the symmetry: no, the average would remove true parts of the
    solution.  Vorticity in the plane is a pseudoscalar: the forcing ``sin(x + y) + cos(x + y)`` of the FNO
    paper, which the exchange of x and y leaves as it is instead of changing its sign, leaves nothing of
    "full"; unforced decay on the torus has all of it.  Points matter as well: a grid of left ends (`Axis`
    with location "left", such as the Darcy files of neuraloperator) has no reflection, since flipping moves
    the boundary: "permutations" is right there, or "full" with the points moving along (`mirror`).

    The images are computed one after another; in a compiled or exported graph
    for evaluation, in one batch.

    Averaging lowers the error of any model for such a problem, or leaves it: the ``g⁻¹ M(g a)`` are |G|
    estimates of one function, and a norm is convex.  Source: group averaging, as in section 2 of Puny et al.,
    Frame Averaging for Invariant and Equivariant Network Design, ICLR 2022 (arXiv:2110.03336).

    Examples
    --------
    >>> from sciml.operators import FNO
    >>> model = Symmetrized(FNO(2, 1, 1, modes=4, width=8, coordinates=False)).eval()
    >>> a = torch.rand(1, 1, 16, 16)
    >>> bool((model(a.mT) - model(a).mT).abs().max() < 1e-5)
    True
    """

    properties = Properties(
        needs_grid=True, periodic=False, resolution_bound=False, linear=False, exports=True
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        group: Group = "full",
        axes: Sequence[int] | None = None,
        in_training: Literal["average", "step", "sample"] = "average",
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        periodic_nodes: bool = False,
        mirror: float | None = None,
    ) -> None:
        super().__init__()
        _choose("group", group, GROUPS)
        _choose("in_training", in_training, IN_TRAINING)
        for kind in (*inputs, *outputs):
            _choose("inputs and outputs", kind, KINDS)
        self.model, self.group, self.in_training = model, group, in_training
        self.axes = None if axes is None else tuple(int(axis) for axis in axes)
        self.inputs, self.outputs, self.periodic_nodes = tuple(inputs), tuple(outputs), periodic_nodes
        self.mirror = mirror
        self.properties = getattr(model, "properties", self.properties)
        self.requires: tuple[str, ...] = tuple(getattr(model, "requires", ()))
        signature = inspect.signature(type(model).forward).parameters.values()
        self._named = tuple(p.name for p in signature if p.name in EXTRAS)
        needed = {p.name for p in signature if p.default is p.empty} | set(self.requires)
        if not self.properties.needs_grid or needed & set(_NO_GRID):
            raise ConfigError(
                f"Symmetrized: {type(model).__name__} works on points, not on a regular grid; rotate and "
                "reflect the points themselves."
            )
        if mirror is not None and (periodic_nodes or "coordinates" not in needed):
            raise ConfigError(
                f"Symmetrized: mirror={mirror} moves the points of bounded axes for a model that needs their "
                f"coordinates; got periodic_nodes={periodic_nodes} and a {type(model).__name__} that needs "
                f"{', '.join(sorted(needed - {'x', 'self'})) or 'none'}. Leave mirror out."
            )
        self._checked: set[tuple[int, ...]] = set()

    def forward(
        self,
        x: Tensor,
        coordinates: Tensor | None = None,
        mask: Tensor | None = None,
        parameters: Tensor | None = None,
        time: Tensor | None = None,
        dt: Tensor | None = None,
    ) -> Tensor:
        """Apply the averaged operator.

        Parameters
        ----------
        x : (batch, in_channels, *space) real
        coordinates : (batch, rank, *space), optional
            `Grid.unit_coordinates`; handed to the model as they are, and looked at once for each shape.
        mask : (batch, channel, *space), optional
            Moves with x.
        parameters, time, dt : optional
            Handed to the model; they must not single out a direction.

        Returns
        -------
        (batch, out_channels, *space)

        Raises
        ------
        ShapeError
            If a shape does not fit, or the group does not map the points onto themselves.
        """
        self._check_input(x, coordinates)
        given = {"coordinates": coordinates, "parameters": parameters, "time": time, "dt": dt}
        extras = {name: value for name, value in given.items() if name in self._named and value is not None}
        elements = signed_permutations(self.group, x.ndim - 2, self.axes)
        masked = mask is not None and "mask" in self._named
        if self.training and self.in_training == "sample":
            picked = [elements[i] for i in torch.randint(len(elements), (len(x),)).tolist()]
            moved = torch.cat([self._act(g, part) for g, part in zip(picked, x.split(1), strict=True)])
            if mask is not None and masked:
                pairs = zip(picked, mask.expand(len(x), *mask.shape[1:]).split(1), strict=True)
                extras["mask"] = torch.cat([self._act(g, part, scalar=True) for g, part in pairs])
            if self.mirror is not None:
                points = extras["coordinates"]
                pairs = zip(picked, points.expand(len(x), *points.shape[1:]).split(1), strict=True)
                extras["coordinates"] = torch.cat([self._move(g, part) for g, part in pairs])
            y = self.model(moved, **extras)
            return torch.cat([self._undo(g, part) for g, part in zip(picked, y.split(1), strict=True)])
        if self.training and self.in_training == "step":
            elements = (elements[int(torch.randint(len(elements), ()))],)
        if torch.compiler.is_compiling() and not self.training:
            return self._averaged_at_once(x, elements, extras, mask if masked else None)
        total: Tensor | None = None
        for g in elements:
            if self.mirror is not None and coordinates is not None:
                extras["coordinates"] = self._move(g, coordinates)
            if mask is not None and masked:
                extras["mask"] = self._act(g, mask, scalar=True)
            y = self._undo(g, self.model(self._act(g, x), **extras))
            total = y if total is None else total + y
        assert total is not None
        return total / len(elements)

    def _averaged_at_once(
        self,
        x: Tensor,
        elements: tuple[SignedPermutation, ...],
        extras: dict[str, Tensor],
        mask: Tensor | None,
    ) -> Tensor:
        """The average with all images in one batch: a graph that holds the model once, not |G| times."""
        count = len(elements)
        repeated = {name: value.repeat(count, *[1] * (value.ndim - 1)) for name, value in extras.items()}
        if self.mirror is not None:
            repeated["coordinates"] = torch.cat([self._move(g, extras["coordinates"]) for g in elements])
        if mask is not None:
            mask = mask.expand(x.shape[0], *mask.shape[1:])
            repeated["mask"] = torch.cat([self._act(g, mask, scalar=True) for g in elements])
        y = self.model(torch.cat([self._act(g, x) for g in elements]), **repeated)
        parts = y.unflatten(0, (count, -1)).unbind(0)
        return torch.stack([self._undo(g, part) for g, part in zip(elements, parts, strict=True)]).mean(0)

    def check_grid(self, shape: Sequence[int]) -> None:
        """Refuse a training grid that the group or the model cannot use.

        Raises
        ------
        ShapeError
            If permuted axes have different sizes, or the model refuses.
        """
        self._check_sizes(tuple(shape))
        check: Callable[[Sequence[int]], None] | None = getattr(self.model, "check_grid", None)
        if check is not None:
            check(shape)

    @staticmethod
    def small(rank: int, in_channels: int, out_channels: int) -> Symmetrized:
        """A tiny instance that trains in seconds, for tests."""
        model = FNO.small(rank, in_channels, out_channels)
        return Symmetrized(model, group="reflections", axes=(0,), periodic_nodes=True)

    def _act(self, g: SignedPermutation, x: Tensor, *, scalar: bool = False) -> Tensor:
        """g a: axes permuted, then reflected; vectors turn along."""
        lead = x.ndim - len(g.permutation)
        y = x.permute(*range(lead), *(lead + axis for axis in g.permutation))
        y = self._reflect(g, y)
        return y if scalar else _mix(y, *g.channels(self.inputs, "Symmetrized: inputs", x.shape[1]))

    def _move(self, g: SignedPermutation, points: Tensor) -> Tensor:
        """Where the points (batch, rank, *space) of g a lie: a field of places, which g moves too."""
        assert self.mirror is not None
        moved = self._act(g, points, scalar=True).unbind(1)
        axes = zip(g.permutation, g.flips, strict=True)
        return torch.stack([self.mirror - moved[i] if flip else moved[i] for i, flip in axes], 1)

    def _undo(self, g: SignedPermutation, y: Tensor) -> Tensor:
        """g⁻¹ of an output of the model."""
        sources, signs = g.channels(self.outputs, "Symmetrized: outputs", y.shape[1])
        back = _inverse(sources)
        y = _mix(y, back, [signs[i] for i in back])
        lead = y.ndim - len(g.permutation)
        y = self._reflect(g, y)  # a reflection is its own inverse
        return y.permute(*range(lead), *(lead + axis for axis in _inverse(g.permutation)))

    def _reflect(self, g: SignedPermutation, x: Tensor) -> Tensor:
        dims = [x.ndim - len(g.flips) + axis for axis, flipped in enumerate(g.flips) if flipped]
        if not dims:
            return x
        x = x.flip(dims)
        # Nodes without the right end: point i goes to -i modulo n, so that point 0 stays.
        return x.roll([1] * len(dims), dims) if self.periodic_nodes else x

    def _check_input(self, x: Tensor, coordinates: Tensor | None) -> None:
        rank, channels = getattr(self.model, "rank", None), getattr(self.model, "in_channels", None)
        wrong_rank = x.ndim < 3 or (rank is not None and x.ndim != rank + 2)
        if wrong_rank or (channels is not None and x.shape[1] != channels):
            raise ShapeError(
                f"Symmetrized: x must have shape (batch, {channels or 'channel'}, *grid) with "
                f"{rank or 'some'} grid axes, got {tuple(x.shape)}."
            )
        self._check_sizes(tuple(x.shape[2:]))
        if coordinates is not None and not torch.compiler.is_compiling():
            self._check_points(coordinates)

    def _check_sizes(self, shape: tuple[int, ...]) -> None:
        used = range(len(shape)) if self.axes is None else self.axes
        if len(set(used)) != len(used) or any(not 0 <= axis < len(shape) for axis in used):
            raise ShapeError(f"Symmetrized: axes {self.axes} are not distinct axes of a grid {shape}.")
        if self.group != "reflections" and any(shape[axis] != shape[used[0]] for axis in used):
            raise ShapeError(
                f"Symmetrized: the group {self.group!r} permutes axes of equal size, got a grid {shape}. "
                "Name the equal ones with axes=..., or use group='reflections'."
            )

    def _check_points(self, coordinates: Tensor) -> None:
        """Refuse points that a reflection would not map onto themselves; once for each shape."""
        shape = tuple(coordinates.shape[2:])
        free = self.group == "permutations" or self.mirror is not None
        if free or shape in self._checked or coordinates.dtype.itemsize < 4:
            return
        for axis in range(len(shape)) if self.axes is None else self.axes:
            points = (
                coordinates[0, axis].detach().movedim(axis, 0).reshape(shape[axis], -1)[:, 0].double().cpu()
            )
            image = points.flip(0).roll(1) if self.periodic_nodes else points.flip(0)
            wanted = (1.0 - points) % 1.0 if self.periodic_nodes else 1.0 - points
            if (image - wanted).abs().max() > 0.1 / len(points):  # another convention is off by 1/n
                raise ShapeError(
                    f"Symmetrized: reflecting axis {axis} does not map its points onto themselves; in the "
                    f"unit box they run from {float(points[0]):.4g} to {float(points[-1]):.4g}. Periodic "
                    "nodes without the right end need periodic_nodes=True, cells and nodes with both ends "
                    "False; left ends of cells have no reflection, so use group='permutations'."
                )
        self._checked.add(shape)


def _mix(x: Tensor, sources: Sequence[int], signs: Sequence[int]) -> Tensor:
    """Channels reordered and signed; without work if nothing changes."""
    if list(sources) != list(range(len(sources))):
        x = x[:, list(sources)]
    if any(sign < 0 for sign in signs):
        x = x * x.new_tensor(list(signs)).reshape(-1, *[1] * (x.ndim - 2))
    return x


def _inverse(permutation: Sequence[int]) -> list[int]:
    found = [0] * len(permutation)
    for place, source in enumerate(permutation):
        found[source] = place
    return found


def _choose(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(
            f"Symmetrized: {name} must be one of {', '.join(known)}, got {value!r}."
            f"{nearest(str(value), known)}"
        )
