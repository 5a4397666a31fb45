"""Runs peers for bench/main.ts: one JSON request a line on stdin, one JSON reply a line on stdout.

One process per allocator setting; the thread count is part of each request. A process waits on
stdin, and so uses no processor, while osculate or another peer is measured.
"""

import json
import re
import sys
import time
import warnings

warnings.filterwarnings("ignore")  # torch.cholesky is deprecated, and the fastest; see gptq_inplace.py

import torch  # noqa: E402

from compare import compare_gptq, compare_gram, compare_rtn, load  # noqa: E402
from gptq_inplace import InPlace  # noqa: E402
from gptq_reference import Reference  # noqa: E402
from gram import Gram, GramInPlace  # noqa: E402
from matrices import MATRICES, compare_matrices  # noqa: E402
from peaks import peaks  # noqa: E402
from rtn import Rtn, RtnInPlace  # noqa: E402
from steps import STEPS, compare_step  # noqa: E402

GPTQ = {"r": Reference, "b": InPlace}
RTN = {"r": Rtn, "b": RtnInPlace}
GRAM = {"r": Gram, "b": GramInPlace}


class Server:
    def __init__(self):
        self.job = None
        self.peers = {}

    def hello(self, _):
        config = torch.__config__.show()
        blas = re.search(r"BLAS_INFO=(\w+)", config)
        return {"torch": torch.__version__, "blas": blas[1] if blas else "unknown BLAS"}

    def load(self, job):
        """Reads a case's inputs and makes its peers; frees those of the case before."""
        self.peers = {}
        self.job = job
        if job["kind"] == "gram":
            x = load(job["x"], (job["tokens"], job["in"]))
            self.peers = {name: GRAM[name](x) for name in job["peers"]}
            return {}
        if job["kind"] in STEPS:
            self.peers = {name: STEPS[job["kind"]][name](job) for name in job["peers"]}
            return {}
        if job["kind"] in MATRICES:
            self.peers = {name: MATRICES[job["kind"]][name](job) for name in job["peers"]}
            return {}
        shape = (job["out"], job["in"])
        self.weight = load(job["w"], shape)
        if job["kind"] == "rtn":
            bits = job["options"]["bits"]
            self.peers = {name: RTN[name](self.weight, bits) for name in job["peers"]}
            return {}
        self.hessian = load(job["h"], (job["in"], job["in"]))
        for name in job["peers"]:
            self.peers[name] = GPTQ[name](self.weight, self.hessian, job["options"])
        return {}

    def time(self, request):
        """Milliseconds of each of `repeats` runs."""
        if torch.get_num_threads() != request["threads"]:
            torch.set_num_threads(request["threads"])
        peer = self.peers[request["peer"]]
        found = []
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            peer.run()
            found.append((time.perf_counter() - start) * 1e3)
        return {"ms": found}

    def compare(self, request):
        """Of the last run of a peer and osculate's result in the files named."""
        peer = self.peers[request["peer"]]
        kind = self.job["kind"]
        if kind in STEPS:
            return compare_step(peer, request["files"])
        if kind in MATRICES:
            return compare_matrices(peer, request["files"])
        if kind == "gram":
            return compare_gram(peer, request["files"])
        if kind == "rtn":
            return compare_rtn(peer, self.weight, request["files"])
        return compare_gptq(peer, self.weight, self.hessian, request["files"])

    def peaks(self, request):
        torch.set_num_threads(request["threads"])
        return peaks()

    def serve(self):
        torch.set_grad_enabled(False)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                reply = getattr(self, request["op"])(request)
            except Exception as error:  # the bench prints it and goes on
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), flush=True)


Server().serve()
