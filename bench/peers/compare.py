"""Does osculate's result equal a peer's? Each function returns the figures it judged by.

The figures are computed here; the limits are in bench/agreement.ts.
"""

import numpy
import torch


def load(path, shape, dtype=numpy.float32):
    return torch.from_numpy(numpy.fromfile(path, dtype=dtype)).reshape(shape)


def relative_error(weight, hessian, quantized):
    """tr(D H D^T) / tr(W H W^T), D = W - Q."""
    d = weight - quantized
    lost = torch.mm(d, hessian).mul_(d).sum(dtype=torch.float64)
    whole = torch.mm(weight, hessian).mul_(weight).sum(dtype=torch.float64)
    return (lost / whole).item()


def compare_gptq(peer, weight, hessian, files):
    ours = load(files["codes"], weight.shape, numpy.uint8)
    return {
        "equalCodes": (peer.codes() == ours).double().mean().item(),
        "relativeError": relative_error(weight, hessian, load(files["dequantized"], weight.shape)),
        "peerRelativeError": relative_error(weight, hessian, peer.dequantized()),
    }


def compare_rtn(peer, weight, files):
    """Codes that differ count as ties when they differ by one and w/scale is half-way to 1e-4."""
    ours = load(files["codes"], weight.shape, numpy.uint8)
    scales = load(files["scales"], (weight.shape[0], 1))
    differ = peer.result != ours
    steps = weight / peer.scale
    half_way = (steps - torch.floor(steps) - 0.5).abs() < 1e-4
    by_one = (peer.result.to(torch.int16) - ours.to(torch.int16)).abs() == 1
    return {
        "different": int(differ.sum()),
        "differentBesidesTies": int((differ & ~(half_way & by_one)).sum()),
        "scaleDifference": ((scales - peer.scale).abs() / peer.scale).max().item(),
    }


def compare_gram(peer, files):
    ours = load(files["matrix"], peer.result.shape)
    largest = peer.result.abs().max()
    return {"difference": ((ours - peer.result).abs().max() / largest).item()}
