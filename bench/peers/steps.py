"""Peers of the optimizer steps, given the gradient and the estimate of curvature.

r: the steps as their publications give them, one PyTorch operation after the other.
f: PyTorch's own fused AdamW, for the bytes it moves in a second.
"""

import math

import torch
from compare import load


class Step:
    """Vectors of a job; `run` is one step, `fresh` puts the state back to where it began."""

    def __init__(self, job):
        shape = (job["out"], job["in"])
        self.options = job["options"]
        self.start = {name: load(path, shape) for name, path in job["files"].items()}
        self.fresh()

    def fresh(self):
        self.state = {name: tensor.clone() for name, tensor in self.start.items()}


class AdaHessian(Step):
    """Yao et al., 2021: the estimate in absolute value, averaged over the rows of the matrix."""

    def run(self):
        o, s = self.options, self.state
        beta1, beta2 = o["betas"]
        hessian = s["diagonal"].abs()
        hessian = hessian.mean(dim=1, keepdim=True).expand_as(hessian)
        s["m"].mul_(beta1).add_(s["grad"], alpha=1 - beta1)
        s["v"].mul_(beta2).addcmul_(hessian, hessian, value=1 - beta2)
        corrections = 1 - beta1 ** o["step"], 1 - beta2 ** o["step"]
        denominator = (s["v"].sqrt() / math.sqrt(corrections[1])).pow(1.0).add(o["eps"])
        direction = s["m"] / corrections[0] / denominator + o["weightDecay"] * s["theta"]
        s["theta"].add_(direction, alpha=-o["lr"])


class Sophia(Step):
    """Liu et al., 2023, with the Gauss-Newton-Bartlett estimate."""

    def run(self):
        o, s = self.options, self.state
        s["theta"].mul_(1 - o["lr"] * o["weightDecay"])
        s["m"].mul_(o["beta1"]).add_(s["grad"], alpha=1 - o["beta1"])
        ratio = (s["m"].abs() / (o["rho"] * o["batch"] * s["h"] + 1e-15)).clamp(None, 1)
        s["theta"].addcmul_(s["m"].sign(), ratio, value=-o["lr"])


class FusedAdamW(Step):
    def fresh(self):
        self.parameter = torch.nn.Parameter(self.start["theta"].clone())
        self.parameter.grad = self.start["grad"].clone()
        self.optimizer = torch.optim.AdamW([self.parameter], lr=1e-3, fused=True)

    def run(self):
        self.optimizer.step()


STEPS = {"adahessian_step": {"r": AdaHessian, "f": FusedAdamW}, "sophia_step": {"r": Sophia}}


def compare_step(peer, files):
    """One step of each from the same state: the largest difference over the size of theta and of its move."""
    if isinstance(peer, FusedAdamW):
        return {"anotherStep": 1}
    peer.fresh()
    peer.run()
    worst = 0.0
    for name, path in files.items():
        theirs, ours = peer.state[name], load(path, peer.state[name].shape)
        scale = peer.start[name].abs() + (theirs - peer.start[name]).abs() + 1e-6
        worst = max(worst, ((theirs - ours).abs() / scale).max().item())
    return {"difference": worst}
