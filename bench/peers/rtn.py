"""Peers of rtn: symmetric rounding to the nearest point of a per-row grid, in PyTorch.

Scales are rounded to float16, as they are stored; the arithmetic is float32.
"""

import torch


def row_scales(weight, bits):
    """float32 [out, 1]. A row of zeros gets the grid of [-1, 1]."""
    widest = torch.maximum(weight.amax(1, keepdim=True), -weight.amin(1, keepdim=True))
    scale = widest * (2 / (2**bits - 1))
    scale = torch.where(scale == 0, torch.full_like(scale, 2 / (2**bits - 1)), scale)
    return scale.half().float()


class Rtn:
    """As one writes it in PyTorch: whole-tensor expressions."""

    def __init__(self, weight, bits):
        self.weight = weight
        self.bits = bits
        self.scale = self.result = None

    def run(self):
        half = 2 ** (self.bits - 1)
        self.scale = row_scales(self.weight, self.bits)
        codes = torch.round(self.weight / self.scale) + half
        self.result = codes.clamp(0, 2 * half - 1).to(torch.uint8)


class RtnInPlace(Rtn):
    """The same with one scratch tensor and in-place calls, both buffers made before the clock."""

    def __init__(self, weight, bits):
        super().__init__(weight, bits)
        self.scratch = torch.empty_like(weight)
        self.result = torch.empty(weight.shape, dtype=torch.uint8)

    def run(self):
        half = 2 ** (self.bits - 1)
        self.scale = row_scales(self.weight, self.bits)
        torch.div(self.weight, self.scale, out=self.scratch)
        self.scratch.round_().add_(half).clamp_(0, 2 * half - 1)
        self.result.copy_(self.scratch)
