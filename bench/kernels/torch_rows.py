"""The rows of bench_kernels.cc in PyTorch, on the same device. One JSON object on standard output.

    python3 bench/kernels/torch_rows.py cuda          real sizes
    python3 bench/kernels/torch_rows.py cpu 32        every dimension divided by 32, to try the program

Timed as there: one warm-up, then until a second or 20 runs; the clock stops after a synchronization.
float32 products are float32 products (no tf32).
"""

import json
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import gptq_inplace  # noqa: E402
import gptq_reference  # noqa: E402

device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
divisor = int(sys.argv[2]) if len(sys.argv) > 2 else 1
torch.set_default_device(device)
torch.manual_seed(1)
torch.backends.cuda.matmul.allow_tf32 = False
rows = []


def scaled(size):
    return max(1, size // divisor)


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


def measure(name, run, bytes_moved=0, flops=0):
    run()
    synchronize()
    times = []
    while not times or (sum(times) < 1 and len(times) < 20):
        start = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - start)
    times.sort()
    row = {"name": name, "best_ms": times[0] * 1e3, "median_ms": times[len(times) // 2] * 1e3, "runs": len(times)}
    if bytes_moved:
        row["gb_per_s"] = bytes_moved / times[0] / 1e9
    if flops:
        row["tflop_per_s"] = flops / times[0] / 1e12
    rows.append(row)


def copy_rate():
    x = torch.ones(scaled(1 << 28))
    y = torch.empty_like(x)
    measure(f"copy {x.numel()} float32", lambda: y.copy_(x), bytes_moved=8 * x.numel())


def product_rate():
    n = scaled(8192)
    a, b, c = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
    measure(f"product {n}x{n} float32", lambda: torch.mm(a, b, out=c), flops=2 * n**3)


def optimizer_steps():
    """The update of the published AdaHessian given the probe product, and torch's fused AdamW."""
    n = scaled(100_000_000)
    theta, grad, diagonal = torch.rand(n), torch.rand(n), torch.rand(n)
    m, v = torch.zeros(n), torch.zeros(n)

    def step():
        m.mul_(0.9).add_(grad, alpha=0.1)
        v.mul_(0.999).addcmul_(diagonal, diagonal, value=0.001)
        denominator = (v.sqrt() / (1 - 0.999) ** 0.5).add_(1e-4)
        theta.addcdiv_(m, denominator, value=-1e-6 / (1 - 0.9))

    measure(f"adahessian_step {n}", step)
    del diagonal
    parameter = torch.nn.Parameter(theta)
    parameter.grad = grad
    adamw = torch.optim.AdamW([parameter], lr=1e-6, fused=True)
    measure(f"fused AdamW {n}", adamw.step, bytes_moved=28 * n)


def gram():
    n, tokens = scaled(4096), 4 * 2048
    x, sums = torch.rand(tokens, n), torch.zeros(n, n)
    measure(f"input_gram {tokens}x{n}", lambda: sums.addmm_(x.T, x), flops=2 * n * n * tokens)


def gptq():
    """Factorization and sweep together: compare with the sum of osculate's two rows."""
    n = scaled(4096)
    x = torch.rand(2 * n, n) - 0.5
    hessian = x.T @ x / n
    options = {"bits": 4, "sym": True, "groupSize": min(128, n), "blockSize": min(128, n), "descAct": False,
               "dampPercent": 0.01, "halfScales": True, "actOrder": False}
    for out in (scaled(4096), scaled(11008)):
        weight = torch.rand(out, n) - 0.5
        measure(f"gptq tuned {out}x{n} 4 bits", gptq_inplace.InPlace(weight, hessian, options).run)
        measure(f"gptq published loop {out}x{n} 4 bits", gptq_reference.Reference(weight, hessian, options).run)


def factorizations():
    for order in (1024, 2048, 4096):
        n = scaled(order)
        a = torch.full((n, n), 0.5) + torch.diag(torch.full((n,), float(n)))
        measure(f"cholesky {n}x{n} float32", lambda: torch.linalg.cholesky(a), flops=n**3 / 3)

        def root():  # the eigendecomposition route to A^(-1/4)
            values, vectors = torch.linalg.eigh(a)
            return vectors * values.pow(-0.25) @ vectors.T

        measure(f"matrix_inverse_root {n}x{n} p=4 by eigh", root)


for part in (copy_rate, product_rate, optimizer_steps, gram, gptq, factorizations):
    try:
        part()
    except (RuntimeError, ValueError, AttributeError) as error:
        rows.append({"name": part.__name__, "error": str(error).split("\n")[0]})

name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
print(json.dumps({"device": device, "processor": name, "versions": torch.__version__, "divisor": divisor, "rows": rows}, indent=1))
