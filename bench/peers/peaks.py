"""What this machine can do, as PyTorch reaches it: GEMM flops a second and bytes copied a second."""

import time

import torch


def best_seconds(run, repeats):
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peaks(n=2048, repeats=12, copy_floats=1 << 26):
    """{sgemm, dgemm: flops a second; copy: bytes a second, read and written both counted}."""
    found = {}
    for name, dtype in (("sgemm", torch.float32), ("dgemm", torch.float64)):
        a = torch.randn(n, n, dtype=dtype)
        b = torch.randn(n, n, dtype=dtype)
        c = torch.empty(n, n, dtype=dtype)
        found[name] = 2 * n**3 / best_seconds(lambda: torch.mm(a, b, out=c), repeats)
    source = torch.ones(copy_floats)
    target = torch.zeros(copy_floats)
    found["copy"] = 8 * copy_floats / best_seconds(lambda: target.copy_(source), repeats)
    return found
