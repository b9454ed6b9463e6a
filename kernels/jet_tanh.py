r"""Collapsed series of first and second order through tanh, in place.

With ``y = tanh(u_0)``, ``g = 1 - y^2``, ``q = Σ_r w_r u_r^2`` and ``W = U - y q`` (the rest as in
`sciml.kernels.jet_second`) all columns but the value are multiplied by the same g,

    y_r = g u_r,        Y = g W,

and so are first all their gradients. With ``W̄ = g Ȳ`` and ``c = Σ_r ȳ_r u_r + Ȳ W``,

    ū_r = g ȳ_r - 2 y W̄ w_r u_r,        Ū = W̄,        ū_0 = g ȳ_0 - g (q W̄ + 2 y c).

A stack (u_0, u_r, U) is therefore overwritten by (y, u_r, W), which is all that the backward pass needs
besides q, and a pass over the columns is one call. Most networks for differential equations consist of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sciml.kernels.jet_memory import Columns, Memory
from sciml.kernels.jet_second import SecondOrder, contracted


@dataclass(frozen=True, eq=False)
class TanhStage:
    """tanh in a row of layers, like `sciml.kernels.jet_activation.Stage`, on stacks that may be overwritten.

    Parameters
    ----------
    places : SecondOrder
        With second orders in the stacks that come in.
    tops, columns_out : int
        Tensors that `forward` returns; columns behind the function.
    only_top : bool
    """

    places: SecondOrder
    tops: int
    columns_out: int
    only_top: bool

    def forward(self, u: Columns, stack: Columns, memory: Memory) -> Sequence[Tensor]:
        """Write the columns of tanh(u) to stack, and to u what `backward` needs; return q per bundle."""
        y = torch.tanh(u.value, out=u.value)
        tops: list[Tensor] = []
        for part in self.places.parts:
            if part.first_in is not None:
                first = u.part(*part.first_in)
                room = None if part.first_out is None else stack.part(*part.first_out)
                tops.append(contracted(first, first, part.weights, room))
                u.each[part.top].addcmul_(y, tops[-1], value=-1.0)
        self.again(self.recall(u, memory), u, tops, stack)
        return tops

    def recall(self, u: Columns, memory: Memory) -> Tensor:
        """g."""
        y = u.value
        return torch.addcmul(memory.one, y, y, value=-1.0, out=memory.shared("slope", 1, *y.shape).value)

    def again(self, g: Tensor, u: Columns, tops: Sequence[Tensor], stack: Columns) -> None:
        """Write the columns of tanh(u) to stack, from what `forward` wrote to u."""
        stack.value.copy_(u.value)
        if self.only_top:
            for part in self.places.parts:
                torch.mul(u.each[part.top], g, out=stack.each[part.top_out])
        else:
            torch.mul(u.rest, g, out=stack.rest)

    def backward(
        self,
        g: Tensor,
        u: Columns,
        tops: Sequence[Tensor],
        gradient: Columns,
        result: Columns,
        memory: Memory,
    ) -> None:
        """Write the gradient with respect to the columns of u to result, which may be that of f(u) itself."""
        y, parts = u.value, self.places.parts
        room = memory.shared("again", self.columns_out, *y.shape)
        if self.only_top:
            c = torch.mul(gradient.each[parts[0].top_out], u.each[parts[0].top], out=room.value)
            for part in parts[1:]:
                c.addcmul_(gradient.each[part.top_out], u.each[part.top])
            torch.mul(gradient.value, g, out=result.value)
            for part in parts:
                torch.mul(gradient.each[part.top_out], g, out=result.each[part.top])
        else:
            c = contracted(gradient.rest, u.rest, None, room.rest, room.value)
            torch.mul(gradient.whole, g, out=result.whole)
        total, known = c.mul_(y).mul_(2.0), iter(tops)
        for part in parts:
            if part.first_in is not None:
                top, first = result.each[part.top], result.part(*part.first_in)
                total.addcmul_(next(known), top)
                mixed = torch.mul(y, top, out=room.each[1])
                if part.weights is not None:
                    mixed = part.weights.reshape(-1, 1, 1) * mixed
                if self.only_top:
                    torch.mul(u.part(*part.first_in), mixed.mul_(-2.0), out=first)
                else:
                    first.addcmul_(u.part(*part.first_in), mixed, value=-2.0)
        result.value.addcmul_(total, g, value=-1.0)
