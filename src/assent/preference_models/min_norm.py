"""The shortest vector in the convex hull of some gradients.

Source: Wolfe 1976; as a weighting of tasks: Desideri 2012 (MGDA).
"""

from __future__ import annotations

import torch
from scipy.optimize import nnls
from torch import Tensor


def min_norm_weights(gradients: Tensor) -> Tensor:
    """Returns [K] weights on the simplex that make ||sum_k w_k g_k|| smallest, for gradients [K, H].

    Solved exactly: the non-negative least squares problem min ||G'u||^2 + (1 - sum u)^2 has its optimum on the ray
    of the answer, so u / sum u is it. A zero gradient would take all the weight and stop learning; it is left out
    of the problem and gets none, unless all are zero, when all get the same. float64 on the CPU: the matrix may be
    singular.
    """
    rows = gradients.detach().double().cpu()
    weights = torch.zeros(len(rows), dtype=torch.float64)
    used = rows.square().sum(dim=1) > 0
    if not used.any():
        return torch.full_like(weights, 1 / len(rows)).to(gradients)
    # The problem is the same in the rows' own span, where it is K x K instead of H x K.
    triangle = torch.linalg.qr(rows[used].T, mode="r").R
    scale = rows[used].norm(dim=1).mean()
    system = torch.cat([triangle / scale, torch.ones(1, triangle.shape[1], dtype=torch.float64)])
    target = torch.zeros(len(system), dtype=torch.float64)
    target[-1] = 1
    solution, _ = nnls(system.numpy(), target.numpy())
    weights[used] = torch.from_numpy(solution / solution.sum())
    return weights.to(gradients)
