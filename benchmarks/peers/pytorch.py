"""How long PyTorch takes for the training steps of ../steps: the same shapes, the same arithmetic.

    pytorch.py --list                            scenarios and the ways they are written here
    pytorch.py [--scenarios REGEX] [--methods REGEX] [--seconds S] [--threads N]
    pytorch.py --losses [--scenarios REGEX]      train five steps from weights and data by formula
    pytorch.py --serve                           what compare.py talks to

Prints one JSON line for each scenario and method. Methods:
    eager     as one who knows PyTorch writes it: heads and encoders of all tasks in one product,
              fused Adam, gradients set to None
    compile   the same, forward and backward through torch.compile
    autocast  eager with products in bfloat16 (torch.autocast), for scenarios named bf16/...
    libmtl    as LibMTL does it: one head module a task, one backward pass a task with
              retain_graph, the method on the stacked gradients; or the method on the losses
    torchjd   torchjd.autojac: the Jacobian of the shared parameters, then the aggregator
    autogram  torchjd.autogram: the Gramian without the Jacobian, then one weighted backward pass
    graphs    on a device, the eager step captured once as a CUDA graph and replayed

Scenarios named cuda/... are there when torch finds a device: data lie on it, and every step is
waited for. cuda-plain/... are the same; in cuda-tf32/... and cuda-bf16/... products are rounded.

The peer is not asked to look whether losses and gradients are finite, to clip, or to keep a
history, which `fit` does in every step. Graphs are put together before the clock starts.
"""
import argparse
import json
import os
import re
import sys
import time

parser = argparse.ArgumentParser(description='Training steps in PyTorch, timed.')
parser.add_argument('--scenarios', default='', help='regular expression; all by default')
parser.add_argument('--methods', default='', help='regular expression; all by default')
parser.add_argument('--seconds', type=float, default=0.3, help='for each of them')
parser.add_argument('--threads', type=int, default=1)
parser.add_argument('--list', action='store_true')
parser.add_argument('--losses', action='store_true')
parser.add_argument('--serve', action='store_true')
options = parser.parse_args()

# Every library that may compute gets the same number of threads; OpenBLAS chooses its kernels for
# this processor. All this is read when torch is imported.
for name in 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS':
    os.environ[name] = str(options.threads)
for name in 'OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE':
    os.environ.pop(name, None)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import networks  # noqa: E402
import policies  # noqa: E402
from networks import labels, numbers, standardised  # noqa: E402

torch.set_num_threads(options.threads)
torch.set_flush_denormal(True)
torch.manual_seed(1)

HARD = 128, (256, 256), 64
SMALL = 32, (64, 64), 32
LARGE = 1024, (4096, 4096), 256
SIZES = {'0.1M': HARD, '1M': (128, (896, 1024), 64)}


# VIERBEIN_PEER_DEVICE=cpu tries the scenarios of a device where there is none, without graphs.
device_name = os.environ.get('VIERBEIN_PEER_DEVICE') or \
    ('cuda' if torch.cuda.is_available() else None)


class Batches:
    """Random batches of rows, every row once an epoch."""

    def __init__(self, rows, batch, device='cpu'):
        self.rows, self.batch, self.device, self.left = rows, batch, device, ()

    def __call__(self):
        if len(self.left) == 0:
            self.left = torch.randperm(self.rows, device=self.device).split(self.batch)[::-1]
        rows, self.left = self.left[0], self.left[1:]
        return rows


def rows_of(batch):
    return batch if options.losses else 16 * batch


def adam(parameters, **more):
    epsilon = 1e-3 if options.losses else 1e-8  # why: ../steps/harness.hpp
    return torch.optim.Adam(parameters, lr=1e-3, eps=epsilon, fused=True, **more)


class Training:
    """Steps on losses (T), each the mean of a batch; `losses(batch)` returns them."""

    def __init__(self, network, losses, batches, method):
        self.network, self.batches = network, batches
        self.losses = torch.compile(losses, dynamic=False) if method == 'compile' else losses
        self.autocast = torch.autocast('cpu', torch.bfloat16, method == 'autocast')
        self.optimizer = adam(network.parameters())
        self.parameters = sum(p.numel() for p in network.parameters())

    def step(self):
        with self.autocast:
            losses = self.losses(*self.batches())
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        return losses


def clones(data):
    return tuple(map(clones, data)) if isinstance(data, tuple) else data.clone()


def copy(to, data):
    if isinstance(data, tuple):
        for t, d in zip(to, data):
            copy(t, d)
    else:
        to.copy_(data)


class DeviceTraining:
    """The same on a device; a step ends when the device has done it."""

    def __init__(self, network, losses, batches, method, products):
        self.network, self.batches = network, batches
        self.losses = torch.compile(losses, dynamic=False) if method == 'compile' else losses
        self.products = products
        self.autocast = torch.autocast(device_name, torch.bfloat16, products == 'bf16')
        # The step count of a graph's optimizer lies on the device.
        self.optimizer = adam(network.parameters(), capturable=method == 'graphs')
        self.parameters = sum(p.numel() for p in network.parameters())
        self.graph = self.captured() if method == 'graphs' else None

    def captured(self):
        torch.backends.cuda.matmul.allow_tf32 = self.products == 'tf32'
        self.batch = clones(self.batches())
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # reserves memory and chooses algorithms
            for _ in range(3):
                self.run(self.batch)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.result = self.run(self.batch)
        return graph

    def run(self, batch):
        with self.autocast:
            losses = self.losses(*batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        return losses

    def step(self):
        torch.backends.cuda.matmul.allow_tf32 = self.products == 'tf32'
        if self.graph is None:
            losses = self.run(self.batches())
        else:
            copy(self.batch, self.batches())
            self.graph.replay()
            losses = self.result
        if device_name == 'cuda':
            torch.cuda.synchronize()
        return losses


CPU = 'cpu', None


def training(network, losses, batches, method, place):
    """`place`: a device, and for one that is not the CPU the kind of products."""
    if place == CPU:
        return Training(network, losses, batches, method)
    return DeviceTraining(network.to(place[0]), losses, batches, method, place[1])


def dense_data(inputs, batch, tasks, device='cpu'):
    rows = rows_of(batch)
    x = standardised(numbers(rows * inputs, 1).view(rows, inputs))
    return *networks.moved((x, labels(rows, tasks)), device), Batches(rows, batch, device)


def picked(x, y, batches):
    def pick():
        rows = batches()
        return x[rows], y[rows]
    return pick


def shared(shape, tasks, batch, method, place=CPU):
    network = networks.Shared(*shape, tasks)
    data = dense_data(shape[0], batch, tasks, place[0])
    return training(network, lambda x, y: F.mse_loss(network(x), y, reduction='none').mean(0),
                    picked(*data), method, place)


def gate(tasks, batch, method, place=CPU):
    network = networks.Gate(tasks)
    data = dense_data(128, batch, tasks, place[0])
    made = training(network, network.losses, picked(*data), method, place)
    made.shown = tasks  # the last loss is the alignment's
    return made


def dmpnn(method, place=CPU, batch=64):
    batches = [networks.moved(b, place[0])
               for b in networks.molecule_batches(rows_of(batch), batch)]
    network = networks.Dmpnn()
    order = Batches(len(batches), 1)
    return training(network,
                    lambda graph, y: F.mse_loss(network(*graph), y, reduction='none').mean(0),
                    lambda: batches[order()[0]], method, place)


def convolutional(method, place=CPU):
    rows = rows_of(128)
    x, y = networks.moved(networks.images(rows), place[0])
    network = networks.Convolutional().to(memory_format=torch.channels_last)
    return training(network, network.losses, picked(x, y, Batches(rows, 128, place[0])), method,
                    place)


class Inference:
    def __init__(self, rows, method):
        self.network = networks.Shared(*HARD, 4)
        self.call = torch.compile(self.network, dynamic=False) if method == 'compile' \
            else self.network
        self.x = standardised(numbers(rows * 128, 1).view(rows, 128)) if rows > 1 \
            else numbers(128, 1).float().view(1, 128)

    def step(self):
        with torch.inference_mode():
            self.call(self.x)


class Gramian:
    def __init__(self, tasks, columns):
        self.j = numbers(tasks * columns, 1).float().view(tasks, columns)

    def step(self):
        self.j @ self.j.T


class Adam:
    def __init__(self, size):
        self.parameters = size
        theta = nn.Parameter(torch.full((size,), 0.1))
        theta.grad = numbers(size, 1).float()
        self.optimizer = adam([theta])

    def step(self):
        self.optimizer.step()


class AlphaVil:
    """A round: each task trains alone for 16 steps; two steps of the updates' coefficients on
    development batches; the loss of all development rows with and without the updates."""

    def __init__(self):
        self.network = networks.Shared(*HARD, 4)
        rows, held_back, batch = 2048, 1024, 128
        x = standardised(numbers((rows + held_back) * 128, 1).view(-1, 128))
        y = labels(rows + held_back, 4)
        self.pick = picked(x[:rows], y[:rows], Batches(rows, batch))
        self.development = x[rows:], y[rows:, 0]
        self.pick_development = picked(*self.development, Batches(held_back, batch))
        self.theta = nn.utils.parameters_to_vector(self.network.parameters()).detach()
        self.parameters = self.theta.numel()

    def loss(self, x, y, task):
        return F.mse_loss(self.network.one(x, task), y)

    def at(self, alpha, updates):
        nn.utils.vector_to_parameters(self.theta + alpha @ updates, self.network.parameters())

    def step(self):
        updates = []
        for task in range(4):
            nn.utils.vector_to_parameters(self.theta.clone(), self.network.parameters())
            optimizer = adam(self.network.parameters())
            for _ in range(16):
                x, y = self.pick()
                optimizer.zero_grad(set_to_none=True)
                self.loss(x, y[:, task], task).backward()
                optimizer.step()
            updates.append(nn.utils.parameters_to_vector(self.network.parameters()).detach()
                           - self.theta)
        updates = torch.stack(updates)
        alpha = torch.full((4,), 0.25)
        for _ in range(2):
            self.at(alpha, updates)
            self.network.zero_grad(set_to_none=False)
            self.loss(*self.pick_development(), 0).backward()
            slope = updates @ torch.cat([p.grad.flatten() if p.grad is not None else
                                         torch.zeros(p.numel())
                                         for p in self.network.parameters()])
            alpha = alpha - 0.2 * slope / slope.abs().max()
        with torch.no_grad():
            for point in torch.zeros(4), alpha:
                self.at(point, updates)
                self.loss(*self.development, 0)
        self.theta = self.theta + alpha @ updates


def weighted(name, shape, tasks, batch, method):
    data = dense_data(shape[0], batch, tasks)
    return policies.make(name, method, shape, tasks, picked(*data), adam)


def all_scenarios():
    """Name -> (methods, make(method))."""
    both = 'eager', 'compile'
    made = {}
    for tasks in 4, 16:
        for name, shape, batches in ('hard', HARD, (128, 512)), ('small', SMALL, (32, 128)):
            for batch in batches:
                made[f'{name}/T{tasks}/B{batch}'] = both, \
                    lambda m, s=shape, t=tasks, b=batch: shared(s, t, b, m)
        for name in 'pcgrad', 'mgda':
            made[f'{name}/T{tasks}'] = policies.methods(name), \
                lambda m, n=name, t=tasks: weighted(n, HARD, t, 128, m)
    for tasks in 2, 4, 8:
        made[f'gate/T{tasks}'] = both, lambda m, t=tasks: gate(t, 128, m)
    made['dmpnn'] = both, dmpnn
    made['convolutional'] = both, convolutional
    for rows in 1, 1000:
        made[f'inference/B{rows}'] = both, lambda m, r=rows: Inference(r, m)
    for size, columns in ('0.1M', 98816), ('1M', 1034112):
        for tasks in 4, 16, 64:
            made[f'gramian/T{tasks}/{size}'] = ('eager',), \
                lambda m, t=tasks, c=columns: Gramian(t, c)
    for name, size in ('0.16M', 164868), ('1M', 1034112):
        made[f'adam/{name}'] = ('eager',), lambda m, s=size: Adam(s)
    made['alpha_vil/T4'] = ('eager',), lambda m: AlphaVil()
    for name, (_, make) in list(made.items()):
        if re.match('hard|gate|dmpnn|convolutional', name):
            made[f'bf16/{name}'] = ('eager', 'autocast'), make
    if device_name:
        made.update(device_scenarios())
    for name in policies.NAMES:
        for tasks in 4, 16, 64:
            for size, shape in SIZES.items():
                made[f'weighting/{name}/T{tasks}/{size}'] = policies.methods(name), \
                    lambda m, n=name, s=shape, t=tasks: weighted(n, s, t, 128, m)
    return made


def device_scenarios():
    ways = ('eager', 'compile', 'graphs') if device_name == 'cuda' else ('eager', 'compile')
    place = device_name, 'float'
    made = {}
    for tasks in 4, 16:
        for name, shape, batches in ('hard', HARD, (128, 512)), ('small', SMALL, (32, 128)):
            for batch in batches:
                made[f'{name}/T{tasks}/B{batch}'] = ways, \
                    lambda m, s=shape, t=tasks, b=batch: shared(s, t, b, m, place)
    for tasks in 2, 4, 8, 64:
        made[f'gate/T{tasks}'] = ways, lambda m, t=tasks: gate(t, 128, m, place)
    made['dmpnn'] = ways, lambda m: dmpnn(m, place)
    made['dmpnn/B4096'] = ways, lambda m: dmpnn(m, place, 4096)
    made['convolutional'] = ways, lambda m: convolutional(m, place)
    named = {f'{prefix}/{name}': scenario for prefix in ('cuda', 'cuda-plain')
             for name, scenario in made.items()}
    for prefix, products in ('cuda', 'float'), ('cuda-tf32', 'tf32'), ('cuda-bf16', 'bf16'):
        named[f'{prefix}/large'] = ways, \
            lambda m, p=products: shared(LARGE, 4, 8192, m, (device_name, p))
    return named


SCENARIOS = all_scenarios()
kept = {}  # what takes long to make, from round to round


def timed(f):
    before = time.perf_counter()
    f()
    return time.perf_counter() - before


def measure(scenario, method, seconds):
    answer = {'scenario': scenario, 'method': method}
    try:
        key = scenario, method
        case = kept.get(key) or SCENARIOS[scenario][1](method)
        if not scenario.startswith('weighting/'):
            kept[key] = case
        times = [timed(case.step)]  # reserves memory, and compiles
        compiled = method == 'compile'
        if times[0] < 1 or compiled:  # a step of a second is believed at once
            for _ in range(3 if times[0] < seconds or compiled else 0):
                case.step()
            times = []
            end = time.perf_counter() + seconds
            while not times or time.perf_counter() < end:
                times.append(timed(case.step))
    except Exception as problem:  # one method that fails must not end the others
        return answer | {'error': f'{type(problem).__name__}: {problem}'.splitlines()[0][:300]}
    times.sort()

    def quantile(q):
        at = q * (len(times) - 1)
        low = int(at)
        return times[low] + (at - low) * (times[min(low + 1, len(times) - 1)] - times[low])
    return answer | {'seconds': quantile(0.5), 'p10': quantile(0.1), 'p90': quantile(0.9),
                     'steps': len(times), 'parameters': getattr(case, 'parameters', None)}


def first_losses(scenario):
    case = SCENARIOS[scenario][1](SCENARIOS[scenario][0][0])
    losses = []
    for _ in range(5):
        values = case.step()
        losses.append(values[:getattr(case, 'shown', None)].mean().item())
    return {'scenario': scenario, 'parameters': case.parameters, 'losses': losses}


def environment():
    blas = 'MKL' if torch.backends.mkl.is_available() else 'another BLAS'
    try:
        from importlib.metadata import version
        torchjd = version('torchjd')
    except Exception:
        torchjd = 'not installed'
    return {'torch': torch.__version__, 'blas': blas, 'threads': torch.get_num_threads(),
            'capability': torch.backends.cpu.get_cpu_capability(), 'torchjd': torchjd,
            'device': torch.cuda.get_device_name() if torch.cuda.is_available() else device_name,
            'methods': {name: methods for name, (methods, _) in SCENARIOS.items()}}


answers = sys.stdout


def say(answer):
    print(json.dumps(answer), file=answers, flush=True)


def main():
    if options.serve:
        sys.stdout = sys.stderr  # whatever libraries print is no answer
        say(environment())
        for line in sys.stdin:
            asked = json.loads(line)
            say(measure(asked['scenario'], asked['method'], asked['seconds']))
        return
    for scenario, (methods, _) in SCENARIOS.items():
        if not re.search(options.scenarios, scenario):
            continue
        if options.list:
            say({'scenario': scenario, 'methods': methods})
        elif options.losses:
            if re.match('(cuda/)?(hard|small|gate|dmpnn|convolutional)', scenario):
                say(first_losses(scenario))
        else:
            for method in methods:
                if re.search(options.methods, method):
                    say(measure(scenario, method, options.seconds))


if __name__ == '__main__':
    main()
