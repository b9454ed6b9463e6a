r"""Adam for networks with a wide first layer: gradient and update of a tile of its weight in one pass.

A dense gradient of W (d, h) would be written once and read once more, and be as large as W. Here it is made
tile by tile from its factors and used up while the tile is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import sqrt
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from sciml.kernels.factored_gradient import FactoredGradient, clip_gradient_norm, recorded

Moments = Literal["full", "bfloat16", "factored"]

# Bytes of a tile for each core: a few of them fit into its cache; on a GPU fewer launches count more.
TILE_ON_CPU = 2**20
TILE_ON_CUDA = 2**26
# The step of all parameters in one pass, as `torch.optim.Adam(fused=True)` uses it.
_FUSED = getattr(torch, "_fused_adam_", None)


class FactoredAdam(torch.optim.Optimizer):
    r"""Adam whose closure leaves gradients of wide layers as factors.

    ``m ← β1 m + (1 - β1) G``, ``v ← β2 v + (1 - β2) G²``, ``W ← W - η m̂ / (√v̂ + ε)`` with bias-corrected
    m̂, v̂. During `step(closure)` the parameters are `recorded`: a `WideLinear` leaves factors instead of a
    gradient, all other parameters have gradients as ever, and the result is that of `torch.optim.Adam`.
    Without a closure all gradients are dense, unless the caller records them.

    Parameters
    ----------
    params : iterable of tensors or of groups
    lr, betas, eps : float, (float, float), float
        η, (β1, β2), ε.
    moments : "full", "bfloat16" or "factored"
        How m and v of parameters with factors are kept: as the parameter; both in bfloat16; m in bfloat16 and
        ``v_ij ≈ r_i c_j / mean(c)`` from the means of G² over rows and columns (Adafactor), which for W of 4
        bytes are 8, 4 and 2 bytes per weight. Rounding to bfloat16 is random and without bias, with numbers
        that depend on the step alone: otherwise changes of v by less than 1/256 would all be lost.

    Notes
    -----
    Names of the state are those of `torch.optim.Adam`; with full moments checkpoints can be exchanged with
    it. Whoever clips calls `clip_gradient_norm` within the closure. Where several processes train together
    gradients are dense, so that they can be added up as usual.

    Source: D. P. Kingma, J. Ba, *Adam* (2015); N. Shazeer, M. Stern, *Adafactor*, arXiv:1804.04235, section
    4.

    Examples
    --------
    >>> from sciml.kernels.wide_linear import WideLinear
    >>> layer = WideLinear(1000, 8)
    >>> optimizer = FactoredAdam(layer.parameters(), lr=1e-4)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = layer(torch.ones(5, 1000)).square().mean()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> bool(optimizer.step(closure) < first), layer.weight.grad
    (True, None)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        moments: Moments = "full",
    ) -> None:
        if lr < 0 or eps < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                "FactoredAdam: lr and eps must be at least 0 and betas in [0, 1), got "
                f"lr={lr}, eps={eps}, betas={betas}."
            )
        if moments not in get_args(Moments):
            raise ValueError(
                f"FactoredAdam: moments must be one of {', '.join(get_args(Moments))}, got {moments!r}."
            )
        self.factors: dict[Tensor, FactoredGradient] = {}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "moments": moments})

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters of all groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients, also those that are factors."""
        super().zero_grad(set_to_none)
        for gradient in self.factors.values():
            gradient.clear()

    def clip_gradient_norm(self, limit: float) -> float:
        """Scale the gradient of all parameters down to a Euclidean norm; returns the norm before."""
        return clip_gradient_norm(self.parameters, self.factors, limit)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update with the gradients of the closure, or with those that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad(), recorded([] if _among_others() else self.parameters) as self.factors:
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        self.factors = {}
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        dense = [p for p in group["params"] if p.grad is not None and not self.factors.get(p)]
        if dense:
            states = [self._state_of(p, "full") for p in dense]
            gradients = [p.grad for p in dense]
            _adam(
                dense,
                gradients,
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [s["step"] for s in states],
                group,
            )
        for parameter in group["params"]:
            if gradient := self.factors.get(parameter):
                state = self._state_of(parameter, group["moments"])
                if parameter.grad is not None:  # a part that does not know of factors
                    rows = torch.arange(len(parameter), device=parameter.device)
                    gradient.add_rows(rows, parameter.grad)
                if group["moments"] == "full":
                    _update_full(parameter, gradient, state, group)
                else:
                    _update_short(parameter, gradient, state, group)

    def _state_of(self, parameter: Tensor, moments: Moments) -> dict[str, Tensor]:
        """The state, one step later."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            dtype = parameter.dtype if moments == "full" else torch.bfloat16
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=dtype)
            if moments == "factored":
                state["row_sq"] = parameter.new_zeros(parameter.shape[0])
                state["column_sq"] = parameter.new_zeros(parameter.shape[1])
            else:
                state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=dtype)
        state["step"] += 1
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, which would give moments the dtype of their parameters."""
        super().load_state_dict(state_dict)
        packed = [number for group in state_dict["param_groups"] for number in group["params"]]
        for number, parameter in zip(packed, self.parameters, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                if isinstance(value, Tensor) and name != "step":
                    self.state[parameter][name] = value.to(parameter.device, copy=True)


def _among_others() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _tiles(parameter: Tensor) -> Iterator[slice]:
    d, h = parameter.shape
    on_cpu = parameter.device.type == "cpu"
    size = TILE_ON_CPU * torch.get_num_threads() if on_cpu else TILE_ON_CUDA
    rows = max(1, size // (h * parameter.element_size()))
    for start in range(0, d, rows):
        yield slice(start, min(start + rows, d))


def _adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    group: dict[str, Any],
) -> None:
    """One step of Adam in place."""
    lr, (beta1, beta2), eps = float(group["lr"]), group["betas"], group["eps"]
    together = _FUSED is not None and all(p.is_contiguous() and p.is_floating_point() for p in parameters)
    if together and len({(p.dtype, p.device) for p in parameters}) == 1:
        assert _FUSED is not None
        _FUSED(
            parameters,
            [g.contiguous() for g in gradients],
            first,
            second,
            [],
            steps,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
        return
    for p, g, m, v, step in zip(parameters, gradients, first, second, steps, strict=True):
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        _descend(p, m, v, float(step), group)


def _descend(p: Tensor, m: Tensor, v: Tensor, step: float, group: dict[str, Any]) -> None:
    """``p ← p - η m̂ / (√v̂ + ε)``."""
    beta1, beta2 = group["betas"]
    size = (v.sqrt() / sqrt(1 - beta2**step)).add_(group["eps"])
    p.addcdiv_(m, size, value=-float(group["lr"]) / (1 - beta1**step))


def _update_full(
    parameter: Tensor, gradient: FactoredGradient, state: dict[str, Tensor], group: dict[str, Any]
) -> None:
    buffer: Tensor | None = None
    for tile in _tiles(parameter):
        buffer = torch.empty_like(parameter[tile]) if buffer is None else buffer
        g = gradient.tile(tile.start, tile.stop, out=buffer)
        m, v = state["exp_avg"][tile], state["exp_avg_sq"][tile]
        _adam([parameter[tile]], [g], [m], [v], [state["step"]], group)


def _update_short(
    parameter: Tensor, gradient: FactoredGradient, state: dict[str, Tensor], group: dict[str, Any]
) -> None:
    """The update with moments of fewer bytes."""
    beta1, beta2 = group["betas"]
    step = float(state["step"])
    random = torch.Generator(parameter.device).manual_seed(int(step))
    factored = "row_sq" in state
    if factored:
        columns = gradient.column_squares().to(parameter) / len(parameter)
        state["column_sq"].lerp_(columns, 1 - beta2)
        relative = state["column_sq"] / state["column_sq"].mean().clamp_min(torch.finfo(parameter.dtype).tiny)
    for tile in _tiles(parameter):
        g = gradient.tile(tile.start, tile.stop)
        m = state["exp_avg"][tile].to(g.dtype).lerp_(g, 1 - beta1)
        if factored:
            rows = state["row_sq"][tile].lerp_(g.square().mean(1), 1 - beta2)
            v = rows[:, None] * relative
        else:
            v = state["exp_avg_sq"][tile].to(g.dtype).mul_(beta2).addcmul_(g, g, value=1 - beta2)
        _descend(parameter[tile], m, v, step, group)
        state["exp_avg"][tile] = _rounded(m, random)
        if not factored:
            state["exp_avg_sq"][tile] = _rounded(v, random)


def _rounded(values: Tensor, generator: torch.Generator) -> Tensor:
    """To bfloat16, up or down at random such that the mean is kept; a row shares its random number."""
    bits = values.to(torch.float32).view(torch.int32)
    noise = torch.randint(
        2**16, (len(values), 1), dtype=torch.int32, device=values.device, generator=generator
    )
    return ((bits + noise) >> 16).to(torch.int16).view(torch.bfloat16)
