"""Weighting policies on losses and gradients, for pytorch.py: LibMTL's way and TorchJD's.

LibMTL (Lin and Zhang 2023) is not imported: its trainer cannot be timed step by step. What follows
is what its loop does, with one head module a task, and its methods on the losses (T) or on the
stacked gradients G (T, P) of the shared parameters, with its default hyper-parameters. Solvers are
the ones it uses (scipy), or their loops in numpy.
"""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import networks

try:
    import torchjd.aggregation as jd
    from torchjd.autogram import Engine
    from torchjd.autojac import jac_to_grad, mtl_backward
except ImportError:
    jd = None


# ---- methods that see the losses alone: make(tasks) -> (f(losses) -> scalar, learned numbers)

def equal(tasks):
    return torch.sum, []


def mean(tasks):
    return torch.mean, []


def rlw(tasks):
    return lambda losses: losses @ (tasks * torch.randn(tasks).softmax(0)), []


def uncertainty(tasks):
    s = nn.Parameter(torch.full((tasks,), -0.5))
    return lambda losses: (losses / (2 * s.exp()) + s / 2).sum(), [s]


def imtl_l(tasks):
    s = nn.Parameter(torch.zeros(tasks))
    return lambda losses: (s.exp() * losses - s).sum(), [s]


def dwa(tasks):  # its weights change once an epoch
    w = torch.ones(tasks)
    return lambda losses: losses @ w, []


def gls(tasks):
    return lambda losses: losses.pow(1 / tasks).prod(), []


def si(tasks):
    return lambda losses: losses.log().sum(), []


def stch(tasks):
    best = torch.full((tasks,), -4.0)

    def total(losses):
        a = losses.log() - best
        a = a - a.max().detach()
        return tasks * torch.logsumexp(a, 0)
    return total, []


LOSSES = {f.__name__: f for f in (equal, mean, rlw, uncertainty, imtl_l, dwa, gls, si, stch)}


# ---- methods that see gradients: make(tasks) -> f(losses, G) -> direction (P)

def pcgrad(tasks):
    def combine(losses, g):
        moved = g.clone()
        for i in range(tasks):
            for j in torch.randperm(tasks).tolist():
                dot = moved[i] @ g[j]
                if dot < 0:
                    moved[i] -= dot / (g[j].norm() ** 2 + 1e-8) * g[j]
        return moved.sum(0)
    return combine


def gradvac(tasks):
    rho = torch.zeros(tasks, tasks)

    def combine(losses, g):
        moved = g.clone()
        for i in range(tasks):
            for j in torch.randperm(tasks).tolist():
                if i == j:
                    continue
                a, b = moved[i].norm(), g[j].norm()
                cosine = moved[i] @ g[j] / (a * b + 1e-8)
                aim = rho[i, j].clone()
                if cosine < aim:
                    w = a * (aim * (1 - cosine ** 2).sqrt() - cosine * (1 - aim ** 2).sqrt()) \
                        / (b * (1 - aim ** 2).sqrt() + 1e-8)
                    moved[i] += w * g[j]
                rho[i, j] = 0.5 * aim + 0.5 * cosine
        return moved.sum(0)
    return combine


def least_norm(gram, rounds=250):
    """The weights of the shortest vector in the convex hull, by Frank and Wolfe's steps."""
    w = np.full(len(gram), 1 / len(gram))
    for _ in range(rounds):
        slope = gram @ w
        t = int(slope.argmin())
        here, cross, there = w @ slope, slope[t], gram[t, t]
        if here - cross < 1e-5 * max(here, 1e-30):
            break
        step = min(1.0, max(0.0, (here - cross) / max(here + there - 2 * cross, 1e-30)))
        w *= 1 - step
        w[t] += step
    return w


def mgda(tasks):
    def combine(losses, g):
        w = least_norm((g @ g.T).double().numpy())
        return torch.from_numpy(w).float() @ g
    return combine


def cagrad(tasks):
    from scipy.optimize import minimize

    def combine(losses, g):
        gram = (g @ g.T).double().numpy()
        start = np.full(tasks, 1 / tasks)
        length = 0.4 * np.sqrt(start @ gram @ start + 1e-8)
        b = gram @ start

        def value(w):
            return w @ b + length * np.sqrt(w @ gram @ w + 1e-8)
        w = minimize(value, start, bounds=[(0, 1)] * tasks,
                     constraints={'type': 'eq', 'fun': lambda w: 1 - w.sum()}).x
        w = torch.from_numpy(w).float()
        step = w @ g
        return g.mean(0) + length / (step.norm() + 1e-8) * step
    return combine


def imtl_g(tasks):
    def combine(losses, g):
        unit = g / g.norm(dim=1, keepdim=True)
        d, u = g[0] - g[1:], unit[0] - unit[1:]
        w = g[0] @ u.T @ torch.linalg.pinv(d @ u.T)
        return torch.cat([1 - w.sum()[None], w]) @ g
    return combine


def fairgrad(tasks):
    from scipy.optimize import least_squares

    def combine(losses, g):
        gram = (g @ g.T).double().numpy()
        gram = gram / np.linalg.norm(gram)
        w = least_squares(lambda w: gram @ w - np.sqrt(1 / w), np.full(tasks, 1 / tasks),
                          bounds=(1e-10, np.inf)).x
        return torch.from_numpy(w).float() @ g
    return combine


def aligned_mtl(tasks):
    def combine(losses, g):
        values, vectors = torch.linalg.eigh(g @ g.T)
        rank = values > values.max() * len(values) * torch.finfo(values.dtype).eps
        values, vectors = values[rank], vectors[:, rank]
        balance = values.min().sqrt() * vectors * values.rsqrt() @ vectors.T
        return balance.sum(0) @ g
    return combine


def graddrop(tasks):
    def combine(losses, g):
        positive = 0.5 * (1 + g.sum(0) / (g.abs().sum(0) + 1e-8))
        u = torch.rand_like(positive)
        return (((positive > u) & (g > 0)) * g + ((positive < u) & (g < 0)) * g).sum(0)
    return combine


def gradnorm(tasks):
    scale = torch.ones(tasks, requires_grad=True)
    first = []

    def combine(losses, g):
        if not first:
            first.append(losses.clone())
        w = tasks * scale.softmax(0)
        norms = w * g.norm(dim=1)
        ratio = losses / first[0]
        aim = (norms.mean() * (ratio / ratio.mean()) ** 1.5).detach()
        slope, = torch.autograd.grad((norms - aim).abs().sum(), scale)
        with torch.no_grad():
            scale.sub_(1e-3 * slope)
        return w.detach() @ g
    return combine


def moco(tasks):
    state = {'y': 0, 'w': torch.full((tasks,), 1 / tasks), 'steps': 0}

    def combine(losses, g):
        state['steps'] += 1
        g = g / (g.norm(dim=1, keepdim=True) + 1e-8) * losses[:, None]
        state['y'] = state['y'] - 0.5 / state['steps'] ** 0.5 * (state['y'] - g)
        y = state['y']
        state['w'] = (state['w'] - 0.1 / state['steps'] ** 0.5 * (y @ y.T @ state['w'])).softmax(0)
        return state['w'] @ y
    return combine


def longest(g, tasks):
    norms = g.norm(dim=1)
    return (norms.max() / (norms + 1e-8)) @ g


def db_mtl(tasks):
    return lambda losses, g: longest(g / (losses[:, None] + 1e-8), tasks)


def db_mtl_average(tasks):
    state = {'mean': 0, 'steps': 0}

    def combine(losses, g):
        state['steps'] += 1
        beta = 0.9 / state['steps'] ** 0.5
        state['mean'] = beta * state['mean'] + (1 - beta) * g / (losses[:, None] + 1e-8)
        return longest(state['mean'], tasks)
    return combine


def excess_mtl(tasks):
    state = {'sum': 0, 'w': torch.full((tasks,), 1 / tasks), 'first': None}

    def combine(losses, g):
        state['sum'] = state['sum'] + g * g
        excess = (g * g / (state['sum'] + 1e-7).sqrt()).sum(1)
        state['first'] = excess if state['first'] is None else state['first']
        w = state['w'] * (excess / state['first'] * 1e-2).exp()
        state['w'] = w / w.sum()
        return state['w'] @ g
    return combine


GRADIENTS = {f.__name__.replace('_average', '-average'): f
             for f in (pcgrad, gradvac, mgda, cagrad, imtl_g, fairgrad, aligned_mtl, graddrop,
                       gradnorm, moco, db_mtl, db_mtl_average, excess_mtl)}


# ---- TorchJD: make(tasks) -> aggregator of the Jacobian, weighting of the Gramian (or None)

def torchjd_policies():
    if jd is None:
        return {}

    return {
        'equal': lambda t: (jd.Sum(), None),
        'mean': lambda t: (jd.Mean(), None),
        'rlw': lambda t: (jd.Random(), None),
        'mgda': lambda t: (jd.MGDA(), jd.MGDAWeighting()),
        'pcgrad': lambda t: (jd.PCGrad(), jd.PCGradWeighting()),
        'gradvac': lambda t: (jd.GradVac(), jd.GradVacWeighting()),
        'cagrad': lambda t: (jd.CAGrad(c=0.4), jd.CAGradWeighting(c=0.4)),
        'imtl_g': lambda t: (jd.IMTLG(), jd.IMTLGWeighting()),
        'nash_mtl': lambda t: (jd.NashMTL(n_tasks=t), None),
        'fairgrad': lambda t: (jd.FairGrad(alpha=1.0), jd.FairGradWeighting(alpha=1.0)),
        'aligned_mtl': lambda t: (jd.AlignedMTL(), jd.AlignedMTLWeighting()),
        'dual_proj': lambda t: (jd.DualProj(), jd.DualProjWeighting()),
        'upgrad': lambda t: (jd.UPGrad(), jd.UPGradWeighting()),
        'cr_mogm-upgrad': lambda t: (
            jd.GramianWeightedAggregator(jd.CRMOGMWeighting(jd.UPGradWeighting())),
            jd.CRMOGMWeighting(jd.UPGradWeighting())),
        'config': lambda t: (jd.ConFIG(), None),
        'krum': lambda t: (jd.Krum(n_byzantine=max(0, (t - 3) // 2)),
                           jd.KrumWeighting(n_byzantine=max(0, (t - 3) // 2))),
        'graddrop': lambda t: (jd.GradDrop(), None),
        'trimmed_mean': lambda t: (jd.TrimmedMean(trim_number=1), None),
        'excess_mtl': lambda t: (jd.ExcessMTL(), None),
    }


TORCHJD = torchjd_policies()
NAMES = sorted({*LOSSES, *GRADIENTS, *TORCHJD, 'famo'})


def methods(name):
    """The ways in which a policy is written here."""
    ways = ['libmtl'] if name in LOSSES or name in GRADIENTS or name == 'famo' else []
    if name in TORCHJD:
        ways.append('torchjd')
        if TORCHJD[name](4)[1] is not None:
            ways.append('autogram')
    return tuple(ways)


# ---- training steps

class LossStep:
    """One backward pass of what the method makes of the losses; heads in one product."""

    def __init__(self, make_method, shape, tasks, pick, adam):
        self.network = networks.Shared(*shape, tasks)
        self.total, learned = make_method(tasks)
        self.pick = pick
        self.optimizer = adam([*self.network.parameters(), *learned])
        self.parameters = sum(p.numel() for p in self.network.parameters())

    def step(self):
        x, y = self.pick()
        losses = F.mse_loss(self.network(x), y, reduction='none').mean(0)
        self.optimizer.zero_grad(set_to_none=True)
        self.total(losses).backward()
        self.optimizer.step()


class FamoStep(LossStep):
    """FAMO: weights of the logarithms of losses, which learn from the losses after the step."""

    def __init__(self, shape, tasks, pick, adam):
        super().__init__(equal, shape, tasks, pick, adam)
        self.w = nn.Parameter(torch.zeros(tasks))
        self.w_optimizer = torch.optim.Adam([self.w], lr=0.025, weight_decay=1e-3)

    def step(self):
        x, y = self.pick()
        losses = F.mse_loss(self.network(x), y, reduction='none').mean(0)
        z = self.w.softmax(0).detach()
        d = losses + 1e-8
        c = (z / d).sum().detach()
        self.optimizer.zero_grad(set_to_none=True)
        (d.log() * z / c).sum().backward()
        self.optimizer.step()
        with torch.no_grad():
            after = F.mse_loss(self.network(x), y, reduction='none').mean(0) + 1e-8
            change = d.detach().log() - after.log()
        self.w.grad, = torch.autograd.grad(self.w.softmax(0), self.w, change)
        self.w_optimizer.step()


class TaskStep:
    """A trunk and one head module a task, as LibMTL and TorchJD ask for."""

    def __init__(self, shape, tasks, pick, adam):
        inputs, trunk, hidden = shape
        shared = networks.Shared(inputs, trunk, hidden, 1)
        self.trunk = shared.trunk
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(trunk[1], hidden), nn.ReLU(), nn.Linear(hidden, 1))
            for _ in range(tasks))
        self.shared = list(self.trunk.parameters())
        self.own = [list(head.parameters()) for head in self.heads]
        self.pick, self.tasks = pick, tasks
        everything = [*self.shared, *self.heads.parameters()]
        self.optimizer = adam(everything)
        self.parameters = sum(p.numel() for p in everything)

    def forward(self):
        x, y = self.pick()
        b = self.trunk(x)
        losses = [F.mse_loss(head(b).squeeze(1), y[:, t]) for t, head in enumerate(self.heads)]
        self.optimizer.zero_grad(set_to_none=True)
        return b, losses


class GradientStep(TaskStep):
    """LibMTL: one backward pass a task, the method on the stacked gradients."""

    def __init__(self, make_method, *rest):
        super().__init__(*rest)
        self.combine = make_method(self.tasks)

    def step(self):
        _, losses = self.forward()
        rows = []
        for t, loss in enumerate(losses):
            gradients = torch.autograd.grad(loss, self.shared + self.own[t],
                                            retain_graph=t + 1 < self.tasks)
            rows.append(torch.cat([g.flatten() for g in gradients[:len(self.shared)]]))
            for p, g in zip(self.own[t], gradients[len(self.shared):]):
                p.grad = g
        direction = self.combine(torch.stack(losses).detach(), torch.stack(rows))
        for p, g in zip(self.shared, direction.split([p.numel() for p in self.shared])):
            p.grad = g.view_as(p)
        self.optimizer.step()


class JacobianStep(TaskStep):
    """TorchJD with the Jacobian."""

    def __init__(self, make_method, *rest):
        super().__init__(*rest)
        self.aggregator = make_method(self.tasks)[0]

    def step(self):
        b, losses = self.forward()
        mtl_backward(losses, features=b, tasks_params=self.own, shared_params=self.shared)
        jac_to_grad(self.shared, self.aggregator)
        self.optimizer.step()


class GramianStep(TaskStep):
    """TorchJD with the Gramian alone."""

    def __init__(self, make_method, *rest):
        super().__init__(*rest)
        self.weighting = make_method(self.tasks)[1]
        self.engine = Engine(self.trunk, batch_dim=None)

    def step(self):
        _, losses = self.forward()
        losses = torch.stack(losses)
        weights = self.weighting(self.engine.compute_gramian(losses))
        losses.backward(weights)
        self.optimizer.step()


def make(name, method, *rest):
    if method == 'torchjd':
        return JacobianStep(TORCHJD[name], *rest)
    if method == 'autogram':
        return GramianStep(TORCHJD[name], *rest)
    if name == 'famo':
        return FamoStep(*rest)
    if name in LOSSES:
        return LossStep(LOSSES[name], *rest)
    return GradientStep(GRADIENTS[name], *rest)
