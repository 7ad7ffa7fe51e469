#!/usr/bin/env python3
"""Compares the weighting methods on the Gramian with TorchJD's, on random Jacobians.

Run by hand, from the top folder:
    pip install torch "torchjd[full]" numpy scipy
    c++ -std=c++20 -O2 -Iinclude tests/peers/weigh.cpp -o weigh -lfmt
    python3 tests/peers/compare_torchjd.py ./weigh [--quick] [--only upgrad,mgda]

Every case is a J (T, P) in double: T = 2 ... 64, P = 10 ... 100000, of every kind of Pareto
stationarity, times 1e-6 ... 1e6. Both sides' d = J^T w are compared by |d - d'| / max(|d|, |d'|); two
d that are both 0 but for rounding (1e-7 of what they are made of) are alike.
One line a method: in how many cases the two agree to 1e-6, the largest difference among those, and for
the others how far each side is from the published problem, by a residual that is computed here, from J
and the answers alone (see `residuals`): its median and its maximum, and how often each side has the
smaller one.

TorchJD is compared as published, and where its options change the problem also with them as close to
the published problem as they allow ("... exact"). Nash-MTL and FairGrad have no solution where the
gradients are weakly Pareto stationary; those cases are a line of their own.
"""
import argparse
import struct
import subprocess
import sys
import time
import warnings

import numpy as np
import scipy.optimize
import torch
from torchjd import aggregation as tj
from torchjd.linalg import QuadprogProjector

KINDS = ("normal", "strong", "strictly weak", "non-weak")


def orthonormal(rng, size, count, first):
    """Columns: `first`, then random ones, orthonormal."""
    columns = np.column_stack(first + [rng.standard_normal(size) for _ in range(count)])
    q, r = np.linalg.qr(columns)
    return q * np.sign(np.diag(r))


def sample(rng, kind, tasks, parameters, rank):
    """J = U diag|s| V^T as in testing/gradient_matrices.hpp."""
    positive = np.abs(rng.standard_normal(tasks)) + 1e-3
    fixed, helpers = [], 0
    if kind == "strong":
        fixed, helpers = [positive], 1
    elif kind == "non-weak":
        fixed = [positive]
    elif kind == "strictly weak":
        half = (tasks + 1) // 2
        fixed = [np.where(np.arange(tasks) < half, positive, 0),
                 np.where(np.arange(tasks) < half, 0, positive)]
        helpers = 1
    left = orthonormal(rng, tasks, helpers + rank - len(fixed), fixed)[:, helpers:helpers + rank]
    right = orthonormal(rng, parameters, rank, [])
    j = (left * np.abs(rng.standard_normal(rank))) @ right.T
    lengths = np.linalg.norm(j, axis=1)
    j[lengths < 1e-13 * lengths.max()] = 0
    return j


def nonnegative(matrix, target):
    """argmin |matrix z - target| over z >= 0, by SciPy: an algorithm of its own on J, not on G."""
    try:
        return scipy.optimize.nnls(matrix, target, maxiter=50 * matrix.shape[1])[0]
    except RuntimeError:
        return np.full(matrix.shape[1], np.nan)


def small(j):
    """R (T, min(T, P)) with R R^T = J J^T: J in an orthonormal basis of its rows."""
    return np.linalg.qr(j.T, mode="r").T


def weakly_stationary(j):
    """Whether a convex combination of the gradients that are not 0 is 0, to 1e-7 of their length."""
    lengths = np.linalg.norm(j, axis=1)
    unit = small(j[lengths > 0] / lengths[lengths > 0, None])
    z = nonnegative(np.vstack([unit.T, np.ones(len(unit))]), np.append(np.zeros(unit.shape[1]), 1.0))
    return np.linalg.norm(unit.T @ z) < 1e-7 * max(np.sum(z), 1e-300)


def projected(r, u):
    """The projection of R^T u on the dual cone of R's rows; NaN where SciPy does not find it.

    SciPy's nnls may stop early where rows depend on each other, so its answer is checked, and sought
    with the rows in another order when it is none."""
    lengths = np.maximum(np.linalg.norm(r, axis=1), 1e-300)
    unit = r / lengths[:, None]
    start = r.T @ u
    size = np.sum(np.abs(u) * lengths)
    rng = np.random.default_rng(1)
    for _ in range(50):
        order = rng.permutation(len(r))
        d = start + unit[order].T @ nonnegative(unit[order].T, -start)
        if np.min(unit @ d) >= -1e-10 * size and abs(d @ (d - start)) <= 1e-10 * size**2:
            return d
    return np.full(r.shape[1], np.nan)


def residuals(label, j, answers):
    """How far each of the answers w is from the problem that the method's paper states, free of units;
    None where there is no measure.

    upgrad, dual_proj  |d - d*| over sum p_t |g_t|, d* by projections with SciPy's nnls
    mgda               (|d|^2 - min g_t . d) / max |g_t|^2, 0 at the minimum
    cagrad             by how much min g_t . d is below the best of the answers within the ball, or d out
                       of the ball, over |g_0| max |g_t|
    nash, fairgrad     max |(Gw)_t w_t^(1/a) - 1|; for nash with w brought to |d|^2 = T
    imtl_g, config     the spread of the cosines with the gradients, over the largest
    """
    r = small(j)
    count = len(j)
    lengths = np.linalg.norm(r, axis=1)
    some = lengths > 0
    valid = [w is not None and np.all(np.isfinite(w)) for w in answers]
    directions = [r.T @ w if ok else None for w, ok in zip(answers, valid)]
    found = []
    if label.startswith(("upgrad", "dual_proj")):
        u = np.full(count, 1 / count)
        if label.startswith("dual_proj"):
            best = projected(r, u)
        else:
            best = sum(projected(r, u * (np.arange(count) == t)) for t in range(count))
        return [np.linalg.norm(d - best) / np.sum(u * lengths) if ok else np.inf
                for d, ok in zip(directions, valid)]
    if label.startswith("cagrad"):
        c = float(label.split("_")[1].split()[0])
        mean = r.mean(axis=0)
        length = np.linalg.norm(mean)
        outside = [max(0.0, np.linalg.norm(d - mean) / length - c) if ok else np.inf
                   for d, ok in zip(directions, valid)]
        value = [np.min(r @ d) / (length * lengths.max()) if ok else -np.inf
                 for d, ok in zip(directions, valid)]
        best = max((v for v, out in zip(value, outside) if out < 1e-9), default=-np.inf)
        return [max(out, best - v) for v, out in zip(value, outside)]
    for w, d, ok in zip(answers, directions, valid):
        if not ok:
            found.append(np.inf)
            continue
        size = np.linalg.norm(d)
        slopes = r @ d
        if label.startswith("mgda"):
            on_simplex = np.min(w) > -1e-9 and abs(np.sum(w) - 1) < 1e-6
            found.append((size**2 - np.min(slopes)) / lengths.max()**2 if on_simplex else np.inf)
        elif label.startswith(("nash", "fairgrad")):
            a = 1.0 if label.startswith("nash") else float(label.split("_")[1].split()[0])
            if np.min(w[some], initial=1) <= 0:
                found.append(np.inf)
                continue
            if label.startswith("nash"):
                w = w * np.sqrt(np.sum(some)) / size
                slopes = r @ (r.T @ w)
            with np.errstate(all="ignore"):
                found.append(np.max(np.abs(slopes[some] * w[some]**(1 / a) - 1)))
        elif label in ("imtl_g", "config"):
            cosines = slopes[some] / lengths[some] / size if size > 0 else np.array([1.0, -1.0])
            spread = np.max(np.abs(cosines - np.mean(cosines)))
            found.append(spread / max(np.max(np.abs(cosines)), 1e-300))
        else:
            return [None, None]
    return found


def peers(tasks):
    """(our method, label, maker of TorchJD's aggregator, largest T)"""
    near = QuadprogProjector(norm_eps=1e-300, reg_eps=1e-13)
    return [
        ("upgrad", "upgrad", lambda: tj.UPGrad(), 64),
        ("upgrad", "upgrad exact", lambda: tj.UPGrad(projector=near), 64),
        ("dual_proj", "dual_proj", lambda: tj.DualProj(), 64),
        ("dual_proj", "dual_proj exact", lambda: tj.DualProj(projector=near), 64),
        ("mgda", "mgda", lambda: tj.MGDA(), 64),
        ("mgda", "mgda exact", lambda: tj.MGDA(epsilon=1e-12, max_iters=20000), 8),
        ("cagrad_0.4", "cagrad_0.4", lambda: tj.CAGrad(c=0.4), 64),
        ("cagrad_0.4", "cagrad_0.4 exact", lambda: tj.CAGrad(c=0.4, norm_eps=1e-300), 64),
        ("cagrad_1", "cagrad_1 exact", lambda: tj.CAGrad(c=1.0, norm_eps=1e-300), 64),
        ("nash_mtl", "nash_mtl", lambda: tj.NashMTL(n_tasks=tasks), 8),
        ("fairgrad_0.5", "fairgrad_0.5", lambda: tj.FairGrad(alpha=0.5, max_iters=1000), 16),
        ("fairgrad_1", "fairgrad_1", lambda: tj.FairGrad(alpha=1.0, max_iters=1000), 16),
        ("fairgrad_2", "fairgrad_2", lambda: tj.FairGrad(alpha=2.0, max_iters=1000), 16),
        ("imtl_g", "imtl_g", lambda: tj.IMTLG(), 64),
        ("aligned_min", "aligned_min", lambda: tj.AlignedMTL(), 64),
        ("aligned_median", "aligned_median", lambda: tj.AlignedMTL(scale_mode="median"), 64),
        ("aligned_rmse", "aligned_rmse", lambda: tj.AlignedMTL(scale_mode="rmse"), 64),
        ("config", "config", lambda: tj.ConFIG(), 64),
        ("krum", "krum", lambda: tj.Krum(n_byzantine=0, n_selected=1), 64),
        ("pcgrad", "pcgrad (T = 2)", lambda: tj.PCGrad(), 2),
        ("gradvac", "gradvac (T = 2)", lambda: tj.GradVac(), 2),
    ]


def answer(aggregator, j):
    """TorchJD's w, or its d when it has no weights (ConFIG)."""
    found = {}

    def note(_module, _inputs, output):
        found["w"] = output.detach().numpy().astype(float)

    weighting = getattr(aggregator, "gramian_weighting", None) or getattr(aggregator, "weighting", None)
    if weighting is not None and not isinstance(aggregator, tj.ConFIG):
        weighting.register_forward_hook(note)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        d = aggregator(torch.from_numpy(j)).detach().numpy().astype(float)
    return found.get("w"), d


def compare(program, ours, shapes, scales, only, table):
    for case, (tasks, parameters) in enumerate(shapes):
        for number, kind in enumerate(KINDS):
            full = min(tasks - (1 if kind in ("strong", "strictly weak") else 0), parameters)
            ranks = [full] if parameters > 1000 else sorted({full, (full + 1) // 2})
            for rank in ranks:
                rng = np.random.default_rng([7, case, number, rank])
                base = sample(rng, kind, tasks, parameters, rank)
                for scale in scales if parameters <= 1000 else [1.0]:
                    j = np.ascontiguousarray(base * scale)
                    program.stdin.write(struct.pack("qq", tasks, parameters) + j.tobytes())
                    program.stdin.flush()
                    stationary = weakly_stationary(j)
                    weights = {}
                    for name in ours:
                        weights[name] = np.frombuffer(program.stdout.read(8 * (tasks + 2)))[:tasks]
                    for name, label, make, largest in peers(tasks):
                        w = weights[name]
                        if tasks > largest or not np.all(np.isfinite(w)) or \
                                (only != [""] and name not in only):
                            continue
                        try:
                            theirs, their_d = answer(make(), j)
                        except Exception as problem:  # a solver that gives up is an answer too
                            theirs, their_d = None, np.full(parameters, np.nan)
                            print(f"# {label}: {type(problem).__name__} at T = {tasks}, {kind}, "
                                  f"scale {scale:g}", file=sys.stderr)
                        d = j.T @ w
                        longest = max(np.linalg.norm(d), np.linalg.norm(their_d))
                        difference = np.linalg.norm(d - their_d) / longest if longest > 0 else 0.0
                        if not np.isfinite(difference):
                            difference = np.inf
                        if theirs is None and name == "config" and np.all(np.isfinite(their_d)):
                            theirs = np.linalg.lstsq(j.T, their_d, rcond=None)[0]
                        parts = max(np.abs(v) @ np.linalg.norm(j, axis=1)
                                    for v in (w, theirs) if v is not None)
                        if longest <= 1e-7 * parts:
                            difference = 0.0
                        if stationary and name.startswith(("nash", "fairgrad")):
                            label += " (no solution)"
                        mine, other = (residuals(label, j, [w, theirs])
                                       if difference > 1e-6 else (0.0, 0.0))
                        table.setdefault(label, []).append((difference, mine, other, kind, scale))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("weigh")
    options.add_argument("--quick", action="store_true", help="a tenth of the cases")
    options.add_argument("--only", default="", help="methods, by our names, with commas between")
    options = options.parse_args()
    torch.set_num_threads(1)
    program = subprocess.Popen([options.weigh], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ours = program.stdout.readline().decode().split()
    shapes = [(2, 10), (3, 10), (4, 100), (8, 1000), (16, 1000), (32, 1000), (64, 1000), (4, 100000),
              (64, 100000)]
    scales = [1e-6, 1e-3, 1.0, 1e3, 1e6]
    if options.quick:
        shapes, scales = shapes[:4], [1e-6, 1.0]
    table = {}
    begin = time.time()
    try:
        compare(program, ours, shapes, scales, options.only.split(","), table)
    except KeyboardInterrupt:
        print("# interrupted: the table holds the cases so far", file=sys.stderr)
    program.stdin.close()
    print(f"TorchJD against vierbein, {time.time() - begin:.0f} s\n")
    print("| method | cases | agree to 1e-6 | largest difference among them | differ | residual ours, "
          "median (max) | residual TorchJD, median (max) | ours / TorchJD's smaller |")
    print("|---|---|---|---|---|---|---|---|")
    for label, cases in table.items():
        agree = [c for c in cases if c[0] <= 1e-6]
        differ = [c for c in cases if c[0] > 1e-6]
        most = f"{max((c[0] for c in agree), default=0):.1e}"
        line = f"| {label} | {len(cases)} | {len(agree)} | {most} | {len(differ)} | "
        if differ and differ[0][1] is not None:
            mine = np.array([c[1] for c in differ if not np.isnan(c[1])])
            other = np.array([c[2] for c in differ if not np.isnan(c[1])])
            line += (f"{np.median(mine):.1e} ({mine.max():.1e}) | {np.median(other):.1e} "
                     f"({other.max():.1e}) | {np.sum(mine < other)} / {np.sum(other < mine)} |")
        else:
            line += "- | - | - |"
        print(line)
    print("\nWhere they differ: kinds (count) and scales")
    for label, cases in table.items():
        differ = [c for c in cases if c[0] > 1e-6]
        if differ:
            kinds = {k: sum(c[3] == k for c in differ) for k in KINDS}
            by_scale = {f"{s:g}": sum(c[4] == s for c in differ) for s in sorted({c[4] for c in differ})}
            print(f"  {label}: {kinds} {by_scale}")


if __name__ == "__main__":
    main()
