"""Peer (b): the operations of gptq_reference.py, as fast as PyTorch runs them on a CPU.

The same Cholesky, inverse, Cholesky, column loop and lazy update, with

* transposed storage: column j of the weight is row j here, contiguous;
* every buffer and every view made once, before the clock starts (Python spends more time making
  views of small tensors than computing with them);
* `out=` and in-place calls only; the grid of a group is 6 calls for 128 columns, a column is 5:
  divide, round, clamp, `e = w - code * scale`, and the rank-1 update `addr_`;
* the rows of the factor divided by their diagonal once, so that no column needs `/ d`;
* the lazy update on two levels: rank-1 updates reach to the end of a run of `inner` columns, one
  `addmm_` carries the run to the rest of the block, one carries the block to the rest of the matrix;
* `torch.cholesky` on a transposed view (symmetric, so the same matrix), which spares
  `torch.linalg.cholesky`'s slower triangular copies and the transposition of the second factor;
* no losses (osculate is timed with `report: "none"`).

Codes stay in the transposed buffer; bringing them back to [out, in] is not timed.
"""

import torch


class InPlace:
    def __init__(self, weight, hessian, options, inner=16):
        if not options["sym"]:
            raise ValueError("gptq_inplace.py is written for symmetric grids")
        out, columns = weight.shape
        self.weight = weight
        self.hessian = hessian
        self.options = options
        block = options["blockSize"]
        group = columns if options["groupSize"] == -1 else options["groupSize"]
        if block % group and group % block:
            raise ValueError("groups must be made of whole blocks, or the other way round")
        self.half = 2 ** (options["bits"] - 1)
        self.to_scale = 2 / (2 ** options["bits"] - 1)

        empty = torch.empty
        self.w = empty(columns, out)
        self.q = empty(columns, out)  # codes minus the zero point
        self.err = empty(block, out)
        self.scales = empty(-(-columns // group), out)
        self.high, self.low = empty(out), empty(out)
        self.high16 = empty(out, dtype=torch.float16)
        # Column-major, as LAPACK writes them: each is then its own transpose without a copy.
        self.h = empty(columns, columns)
        self.chol = empty(columns, columns).T
        self.inverse = empty(columns, columns).T
        self.factor = empty(columns, columns).T
        self.upper = self.factor.T  # row-major view: U with H^-1 = U^T U
        if options["descAct"]:
            self.gathered = empty(columns, out)
            self.gathered_h = empty(columns, columns)
        self.perm = None
        self.plan = self._views(block, group, min(inner, block))

    def _views(self, block, group, inner):
        """All slices the loop needs: a list of blocks, each (groups, columns, tail)."""
        w, q, err, u = self.w, self.q, self.err, self.upper
        columns = w.shape[0]
        w_rows, q_rows, e_rows = w.unbind(0), q.unbind(0), err.unbind(0)
        plan = []
        for i1 in range(0, columns, block):
            i2 = min(i1 + block, columns)
            steps = []
            for i in range(i1, i2):
                k = i - i1
                start = i1 + k // inner * inner
                stop = min(start + inner, i2)
                grid = None
                if i % group == 0:
                    grid = (w[i : i + group], self.scales[i // group])
                rank1 = (w[i + 1 : stop], u[i, i + 1 : stop]) if i + 1 < stop else None
                run = None
                if i + 1 == stop and stop < i2:
                    run = (w[stop:i2], u[start:stop, stop:i2].T, err[start - i1 : stop - i1])
                steps.append((w_rows[i], q_rows[i], e_rows[k], self.scales[i // group], grid, rank1, run))
            tail = None
            if i2 < columns:
                tail = (w[i2:], u[i1:i2, i2:].T, err[: i2 - i1])
            plan.append((steps, tail))
        return plan

    def _load(self):
        o = self.options
        diagonal = self.hessian.diagonal()
        dead = diagonal == 0
        any_dead = bool(dead.any())
        if o["descAct"]:
            key = torch.where(dead, torch.ones(()), diagonal) if any_dead else diagonal
            self.perm = torch.argsort(key, descending=True, stable=True)
            self.gathered.copy_(self.weight.T)
            torch.index_select(self.gathered, 0, self.perm, out=self.w)
            torch.index_select(self.hessian, 0, self.perm, out=self.gathered_h)
            torch.index_select(self.gathered_h, 1, self.perm, out=self.h)
            dead = dead[self.perm]
        else:
            self.w.copy_(self.weight.T)
            self.h.copy_(self.hessian)
        diagonal = self.h.diagonal()
        if any_dead:
            diagonal[dead] = 1
            self.w[dead] = 0
        diagonal.add_(diagonal.mean(), alpha=o["dampPercent"])

    def _factor(self):
        torch.cholesky(self.h.T, out=self.chol)
        torch.cholesky_inverse(self.chol, out=self.inverse)
        torch.cholesky(self.inverse, out=self.factor)  # lower, and its transpose is U
        self.upper.div_(self.upper.diagonal().clone().unsqueeze(1))

    def run(self):
        self._load()
        self._factor()
        amax, amin, maximum = torch.amax, torch.amin, torch.maximum
        div, addcmul = torch.div, torch.addcmul
        high, low, high16 = self.high, self.low, self.high16
        to_scale, least, most = self.to_scale, -self.half, self.half - 1
        half_scales = self.options["halfScales"]
        for steps, tail in self.plan:
            for w, q, e, scale, grid, rank1, run in steps:
                if grid is not None:
                    amax(grid[0], 0, out=high)
                    amin(grid[0], 0, out=low)
                    maximum(high, low.neg_(), out=scale)
                    scale.mul_(to_scale)
                    # A row of zeros gets the grid of [-1, 1].
                    scale.masked_fill_(scale == 0, to_scale)
                    if half_scales:
                        high16.copy_(scale)
                        scale.copy_(high16)
                div(w, scale, out=q)
                q.round_()
                q.clamp_(least, most)
                addcmul(w, q, scale, value=-1, out=e)
                if rank1 is not None:
                    rank1[0].addr_(rank1[1], e, alpha=-1)
                elif run is not None:
                    run[0].addmm_(run[1], run[2], alpha=-1)
            if tail is not None:
                tail[0].addmm_(tail[1], tail[2], alpha=-1)

    def codes(self):
        """uint8 [out, in] in the original column order."""
        codes = (self.q + self.half).to(torch.uint8)
        if self.perm is not None:
            back = torch.empty_like(codes)
            back[self.perm] = codes
            codes = back
        return codes.T.contiguous()

    def dequantized(self):
        columns = self.w.shape[0]
        group = columns if self.options["groupSize"] == -1 else self.options["groupSize"]
        value = self.q * self.scales[torch.arange(columns) // group]
        if self.perm is not None:
            back = torch.empty_like(value)
            back[self.perm] = value
            value = back
        return value.T.contiguous()
