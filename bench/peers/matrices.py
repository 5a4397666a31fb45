"""Peers of the functions of symmetric matrices, float32, in batches.

e: by the eigendecomposition. r (matrix_sqrt): the published route, a Pade approximant [5/5] and eight steps of the matrix
sign iteration for the gradient, written anew from the paper (Song, Sebe and Wang, 2022).
"""

import torch
from compare import load

P = (1, -11 / 4, 11 / 4, -77 / 64, 55 / 256, -11 / 1024)
Q = (1, -9 / 4, 7 / 4, -35 / 64, 15 / 256, -1 / 1024)


class Matrices:
    def __init__(self, job):
        n = job["in"]
        shape = (job["out"] // n, n, n)
        self.a = load(job["files"]["a"], shape)
        self.g = load(job["files"]["g"], shape)
        self.options = job["options"]


class RootsByEigenvectors(Matrices):
    def run(self):
        w, v = torch.linalg.eigh(self.a)
        w = w + self.options["ridge"] * w[:, -1:]
        self.result = (v * w.pow(-1 / self.options["p"]).unsqueeze(1)) @ v.mT


class SqrtByEigenvectors(Matrices):
    def run(self):
        w, v = torch.linalg.eigh(self.a)
        s = w.sqrt()
        self.root = (v * s.unsqueeze(1)) @ v.mT
        inner = v.mT @ self.g @ v
        self.result = v @ (inner / (s.unsqueeze(2) + s.unsqueeze(1))) @ v.mT


class SqrtByPade(Matrices):
    def run(self):
        a, count = self.a, len(self.a)
        one = torch.eye(a.shape[1]).expand_as(a)
        norm = a.flatten(1).norm(dim=1).view(count, 1, 1)
        z = one - a / norm
        p, q, power = P[0] * one, Q[0] * one, one
        for k in range(1, 6):
            power = z if k == 1 else power.bmm(z)
            p, q = p + P[k] * power, q + Q[k] * power
        self.root = torch.linalg.solve(q, p) * norm.sqrt()
        b, c = self.root / norm.sqrt(), self.g / norm.sqrt()
        for _ in range(8):
            b2 = b.bmm(b)
            turn = 3 * one - b2
            c = (c.bmm(turn) - b2.bmm(c) + b.bmm(c).bmm(b)) / 2
            b = b.bmm(turn) / 2
        self.result = c / 2


MATRICES = {
    "shampoo_roots": {"e": RootsByEigenvectors},
    "matrix_sqrt": {"r": SqrtByPade, "e": SqrtByEigenvectors},
}


def compare_matrices(peer, files):
    """Largest difference over the largest element."""
    ours = load(files["result"], peer.result.shape)
    return {"difference": ((ours - peer.result).abs().max() / peer.result.abs().max()).item()}
