"""Peer of input_gram: the matrix product itself, `2/N X^T X`, float32, in PyTorch."""

import torch


class Gram:
    """As one writes it: a product and a scaling, each making a new tensor."""

    def __init__(self, x):
        self.x = x
        self.result = None

    def run(self):
        self.result = (2 / self.x.shape[0]) * (self.x.T @ self.x)


class GramInPlace:
    """The product into a preallocated buffer, scaled in place."""

    def __init__(self, x):
        self.x = x
        self.result = torch.empty(x.shape[1], x.shape[1])

    def run(self):
        torch.mm(self.x.T, self.x, out=self.result)
        self.result.mul_(2 / self.x.shape[0])
