"""Peer (r): GPTQ of one layer in PyTorch, following the published reference loop.

Written as that loop is: weights [out, in], a clone of each block of columns, one grid object asked
for its scales at every group start, a rank-1 update of the rest of the block after every column,
and a lazy update of everything right of the block. Nothing is optimised here on purpose; the tuned
version of the same operations is gptq_inplace.py.

Two choices make it comparable with osculate: a symmetric grid is always mirrored (the reference
mirrors only rows that have a negative weight, which is every row of these inputs), and scales are
rounded to the format they are stored in before the error feedback.
"""

import torch


class Grid:
    """One scale and one zero for each row, as the reference's quantizer object keeps them."""

    def __init__(self, bits, sym, half_scales):
        self.maxq = 2**bits - 1
        self.sym = sym
        self.half_scales = half_scales
        self.scale = None
        self.zero = None

    def find_params(self, x):
        zeros = torch.zeros(x.shape[0])
        xmin = torch.minimum(x.min(1)[0], zeros)
        xmax = torch.maximum(x.max(1)[0], zeros)
        if self.sym:
            xmax = torch.maximum(torch.abs(xmin), xmax)
            xmin = -xmax
        empty = (xmin == 0) & (xmax == 0)
        xmin[empty] = -1
        xmax[empty] = +1
        scale = (xmax - xmin) / self.maxq
        if self.half_scales:
            scale = scale.half().float()
        if self.sym:
            zero = torch.full_like(scale, (self.maxq + 1) / 2)
        else:
            zero = torch.round(-xmin / scale)
        self.scale = scale.unsqueeze(1)
        self.zero = zero.unsqueeze(1)

    def quantize(self, x):
        q = torch.clamp(torch.round(x / self.scale) + self.zero, 0, self.maxq)
        return self.scale * (q - self.zero)


def gptq(weight, hessian, o):
    """weight [out, in] and hessian [in, in], both float32 and left as they are.

    Returns what the reference leaves behind: the dequantized weight [out, in], and the grids
    (scales and zeros, each [out, groups]) in the order of the columns as they were quantized,
    with the permutation used.
    """
    w_all = weight.clone()
    h = hessian.clone()
    columns = w_all.shape[1]
    group = columns if o["groupSize"] == -1 else o["groupSize"]
    grid = Grid(o["bits"], o["sym"], o["halfScales"])
    scales, zeros = [], []

    dead = torch.diag(h) == 0
    h[dead, dead] = 1
    w_all[:, dead] = 0

    perm = None
    if o["descAct"]:
        perm = torch.argsort(torch.diag(h), descending=True, stable=True)
        w_all = w_all[:, perm]
        h = h[perm][:, perm]

    losses = torch.zeros_like(w_all)
    quantized = torch.zeros_like(w_all)

    damp = o["dampPercent"] * torch.mean(torch.diag(h))
    diag = torch.arange(columns)
    h[diag, diag] += damp
    h = torch.linalg.cholesky(h)
    h = torch.cholesky_inverse(h)
    h_inv = torch.linalg.cholesky(h, upper=True)

    for i1 in range(0, columns, o["blockSize"]):
        i2 = min(i1 + o["blockSize"], columns)
        count = i2 - i1
        w_block = w_all[:, i1:i2].clone()
        q_block = torch.zeros_like(w_block)
        err_block = torch.zeros_like(w_block)
        loss_block = torch.zeros_like(w_block)
        h_block = h_inv[i1:i2, i1:i2]

        for i in range(count):
            w = w_block[:, i]
            d = h_block[i, i]
            if (i1 + i) % group == 0:
                grid.find_params(w_all[:, (i1 + i) : (i1 + i + group)])
                scales.append(grid.scale)
                zeros.append(grid.zero)
            q = grid.quantize(w.unsqueeze(1)).flatten()
            q_block[:, i] = q
            loss_block[:, i] = (w - q) ** 2 / d**2
            err = (w - q) / d
            w_block[:, i:] -= err.unsqueeze(1).matmul(h_block[i, i:].unsqueeze(0))
            err_block[:, i] = err

        quantized[:, i1:i2] = q_block
        losses[:, i1:i2] = loss_block / 2
        w_all[:, i2:] -= err_block.matmul(h_inv[i1:i2, i2:])

    loss = torch.sum(losses).item()
    if perm is not None:
        quantized = quantized[:, torch.argsort(perm)]
    return quantized, torch.cat(scales, 1), torch.cat(zeros, 1), perm, loss


class Reference:
    """The peer as server.py runs it: prepare once, run() is what is timed, codes() is not."""

    def __init__(self, weight, hessian, options):
        self.inputs = (weight, hessian, options)
        self.result = None

    def run(self):
        self.result = gptq(*self.inputs)

    def dequantized(self):
        return self.result[0]

    def codes(self):
        """uint8 [out, in] in the original column order (exact: every weight is on its grid)."""
        quantized, scales, zeros, perm, _ = self.result
        options = self.inputs[2]
        columns = quantized.shape[1]
        group = columns if options["groupSize"] == -1 else options["groupSize"]
        place = torch.arange(columns)
        if perm is not None:
            place[perm] = torch.arange(columns)
        which = place // group
        return torch.round(quantized / scales[:, which] + zeros[:, which]).to(torch.uint8)
