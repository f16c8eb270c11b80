"""Planar flows: invertible maps of a latent variable, their log-determinant, and their gradient written by hand."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_TINY = 1e-12
_FOLD = 1e-6 - 1  # w'u (1 - tanh^2) stays above it: only rounding could bring a determinant to 0
_IDENTITY = math.log(math.e - 1)  # the w'u at which a planar map is the identity


class Planar(nn.Module):
    """A chain of K planar maps z + u tanh(w'z + b), each one invertible.

    ladj = sum over k of log(1 + w'u (1 - tanh^2(w'z + b)))

    Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015, equations 10 to 12. As in their appendix
    A.1, u is moved along w so that w'u = softplus(w'u) - 1 > -1. Without this, as in SSAD 0.1.3, the map may fold and
    its determinant vanish. It starts as the identity.
    """

    def __init__(self, maps: int, latent: int) -> None:
        super().__init__()
        w = torch.empty(maps, latent).uniform_(-(latent**-0.5), latent**-0.5)
        self.w = nn.Parameter(w)  # (K, Z)
        self.u = nn.Parameter(_IDENTITY * w / w.square().sum(-1, keepdim=True))
        self.b = nn.Parameter(torch.zeros(maps))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped z, (B, Z), and log |det|, (B,)."""
        given = (self.w * self.u).sum(-1)  # (K,)
        inner = functional.softplus(given) - 1
        u = self.u + ((inner - given) / self.w.square().sum(-1).clamp_min(_TINY))[:, None] * self.w
        ladj = torch.zeros_like(z[:, 0])
        for w_k, u_k, b_k, inner_k in zip(self.w.unbind(), u.unbind(), self.b.unbind(), inner.unbind(), strict=True):
            bend = (z @ w_k + b_k).tanh()  # (B,)
            z = torch.addcmul(z, bend[:, None], u_k)
            ladj = ladj + torch.log1p((inner_k * (1 - bend.square())).clamp_min(_FOLD))
        return z, ladj


class PlanarByHand:
    """``Planar`` and its gradient without autograd. Records come last: each row of a (K, B) tensor is one map.

    a_k = w_k'z_0 + b_k + sum over j < k of (w_k'u_j) tanh(a_j),  z_K = z_0 + sum over k of u_k tanh(a_k)
    """

    def __init__(self, w: Tensor, u: Tensor, b: Tensor) -> None:
        self.w, self.free, self.b = w, u, b
        self.given, self.norm = (w * u).sum(-1), w.square().sum(-1).clamp_min_(_TINY)
        self.inner = functional.softplus(self.given).sub_(1)
        self.along = (self.inner - self.given).div_(self.norm)
        self.u = torch.addcmul(u, self.along[:, None], w)
        self.couple = w @ self.u.T  # (K, K)

    def forth(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped z, (B, Z), and log |det|, (B,)."""
        self.z, self.bend = z, torch.addmm(self.b[:, None], self.w, z.T)
        for k, row in enumerate(self.bend.unbind()):
            if k > 0:
                row.addmv_(self.bend[:k].T, self.couple[k, :k])
            row.tanh_()
        self.slope = 1 - self.bend.square()
        self.stretch = (self.inner[:, None] * self.slope).clamp_min_(_FOLD)
        return torch.addmm(z, self.bend.T, self.u), self.stretch.log1p().sum(0)

    def back(self, of_z: Tensor, of_ladj: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of z_0, w, u and b from those of the mapped z and of log |det|."""
        of_det = (self.stretch > _FOLD) * of_ladj / (1 + self.stretch)
        pre = torch.addmm(self.bend * of_det * self.inner[:, None], self.u, of_z.T, beta=-2)
        rows, slopes = pre.unbind(), self.slope.unbind()
        for k in reversed(range(len(rows))):
            if k < len(rows) - 1:
                rows[k].addmv_(pre[k + 1 :].T, self.couple[k + 1 :, k])
            rows[k].mul_(slopes[k])
        of_couple = (pre @ self.bend.T).tril_(-1)
        of_u = torch.addmm(self.bend @ of_z, of_couple.T, self.w)
        of_w = torch.addmm(pre @ self.z, of_couple, self.u)
        # The rest is the gradient of the step from (w, u) to the u that cannot fold.
        of_along = (of_u * self.w).sum(-1) / self.norm
        of_inner = torch.linalg.vecdot(of_det, self.slope) + of_along
        of_given = (of_inner * self.given.sigmoid() - of_along)[:, None]
        of_norm = (self.norm > _TINY) * of_along * self.along
        of_w.addcmul_(self.along[:, None], of_u).addcmul_(of_given, self.free).addcmul_(
            of_norm[:, None], self.w, value=-2
        )
        return torch.addmm(of_z, pre.T, self.w), of_w, torch.addcmul(of_u, of_given, self.w), pre.sum(-1)
