"""The networks of pytorch.py, with weights and data by the formula of ../steps/harness.hpp."""
import math

import torch
from torch import nn
from torch.nn import functional as F


def numbers(count, salt):
    """`count` numbers of list `salt`, spread evenly over [-1, 1)."""
    i = torch.arange(1, count + 1, dtype=torch.float64)
    s = torch.sin(12.9898 * i + 78.233 * salt) * 43758.5453
    return 2 * (s - torch.floor(s)) - 1


def standardised(x):
    return ((x - x.mean(0)) / x.std(0, correction=0)).float()


def labels(rows, tasks):
    return standardised(torch.stack([numbers(rows, 100 + t) for t in range(tasks)], 1))


class Weights:
    """Hands out weight matrices (in, out), in the order in which ../steps names them."""

    def __init__(self):
        self.count = 0

    def __call__(self, rows, cols):
        w = math.sqrt(3 / rows) * numbers(rows * cols, 1000 + self.count).view(rows, cols)
        self.count += 1
        return w.float()

    def stacks(self, tasks, widths):
        """For every layer of `widths` the weights of all tasks, (T, in, out); task by task."""
        each = [[self(a, b) for a, b in zip(widths, widths[1:])] for _ in range(tasks)]
        return [torch.stack(layer) for layer in zip(*each)]


def linear(w):
    """nn.Linear with weights (in, out) and bias 0."""
    layer = nn.Linear(w.shape[0], w.shape[1])
    with torch.no_grad():
        layer.weight.copy_(w.T)
        layer.bias.zero_()
    return layer


class Heads(nn.Module):
    """Heads in -> hidden -> 1 of all tasks: (B, in) -> (B, T)."""

    def __init__(self, first, last):
        super().__init__()
        self.shape = first.shape[0], first.shape[2]
        self.first = linear(first.permute(1, 0, 2).reshape(first.shape[1], -1))
        self.last = nn.Parameter(last.squeeze(2))
        self.bias = nn.Parameter(torch.zeros(len(last)))

    def forward(self, b):
        h = F.relu(self.first(b)).view(-1, *self.shape)
        return (h * self.last).sum(-1) + self.bias


class Shared(nn.Module):
    """A trunk of dense layers and batched heads."""

    def __init__(self, inputs, trunk, hidden, tasks):
        super().__init__()
        w = Weights()
        self.trunk = nn.Sequential(linear(w(inputs, trunk[0])), nn.ReLU(),
                                   linear(w(*trunk)), nn.ReLU())
        self.heads = Heads(*w.stacks(tasks, [trunk[1], hidden, 1]))

    def forward(self, x):
        return self.heads(self.trunk(x))

    def one(self, x, task):
        """The prediction of one task alone."""
        width = self.heads.shape[1]
        rows = slice(task * width, (task + 1) * width)
        h = F.relu(F.linear(self.trunk(x), self.heads.first.weight[rows],
                            self.heads.first.bias[rows]))
        return h @ self.heads.last[task] + self.heads.bias[task]


class Stack(nn.Module):
    """Layers of every task, (T, B, in) -> (T, B, out), relu between them."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList([torch.zeros(len(w), 1, w.shape[2]) for w in weights])

    def forward(self, x):
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(b, x, w)
            if i + 1 < len(self.weights):
                x = F.relu(x)
        return x


class Gate(nn.Module):
    """GATE with all pairs and K = 4 perturbed copies, every sum over pairs in closed form."""
    copies = 4

    def __init__(self, tasks):
        super().__init__()
        self.tasks = tasks
        w = Weights()
        parts = {'encoder': [128, 128, 64], 'transfer': [64, 64, 64], 'inverse': [64, 64, 64],
                 'head': [64, 64, 1]}
        each = [{name: [w(a, b) for a, b in zip(widths, widths[1:])]
                 for name, widths in parts.items()} for _ in range(tasks)]
        layers = {name: [torch.stack(layer) for layer in zip(*(e[name] for e in each))]
                  for name in parts}
        # The first layers of all encoders read the same rows: one product.
        first = layers['encoder'][0]
        self.first = linear(first.permute(1, 0, 2).reshape(128, -1))
        self.encoder = Stack(layers['encoder'][1:])
        self.transfer = Stack(layers['transfer'])
        self.inverse = Stack(layers['inverse'])
        self.head = Stack(layers['head'])
        # For every task itself, then all others.
        order = [[t] + [s for s in range(tasks) if s != t] for t in range(tasks)]
        self.register_buffer('sources', torch.tensor(order), persistent=False)

    def spread(self, a):
        """Mean over partners of the mean squared difference, each pair once: a (T, ...)."""
        pairs = self.tasks * (a * a).sum(0) - a.sum(0) ** 2
        return pairs.mean() / (self.tasks - 1)

    def losses(self, x, y):
        """Those of the tasks, then that of the alignment."""
        rows, tasks = len(x), self.tasks
        rms = x.square().mean().sqrt()
        noise = torch.randn(self.copies * rows, x.shape[1], device=x.device) * (0.1 * rms)
        stacked = torch.cat([x, x.repeat(self.copies, 1) + noise])
        h = F.relu(self.first(stacked)).view(len(stacked), tasks, 128).transpose(0, 1)
        z = self.encoder(h)
        u = self.transfer(z)
        z, flat = z[:, :rows], u[:, :rows]
        back = self.inverse(flat[self.sources].flatten(1, 2))
        predictions = self.head(torch.cat([z, back[:, rows:]], 1)).view(tasks, tasks, rows)
        errors = (predictions - y.T[:, None]).square().mean(2)  # (T, itself and its partners)
        moved = (u[:, rows:].unflatten(1, (self.copies, rows)) - flat[:, None]).square().sum(3)
        alignment = (tasks * F.mse_loss(back[:, :rows], z) + self.spread(flat)
                     + errors[:, 1:].mean(1).sum() + self.spread((moved + 1e-6).sqrt()))
        return torch.cat([errors[:, 0], alignment[None]])


def moved(data, device):
    """Tensors, and tuples of them, on a device."""
    return tuple(moved(d, device) for d in data) if isinstance(data, tuple) else data.to(device)


def molecule_batches(count, batch, tasks=4):
    """Made-up molecules as ../steps/graphs_and_images.cpp binds them, batch by batch."""
    sizes = [19 + m % 4 for m in range(count)]
    node_features = numbers(sum(sizes) * 133, 1).float().view(-1, 133)
    edge_features = numbers(2 * sum(sizes) * 14, 2).float().view(-1, 14)
    y = labels(count, tasks)
    batches, atom, edge = [], 0, 0
    for begin in range(0, count, batch):
        source, target, reverse, molecule = [], [], [], []
        atoms = 0
        for m in range(begin, begin + batch):
            bonds = [(i - 2 if i % 3 == 0 else i - 1, i) for i in range(1, sizes[m])] + [(0, 5)]
            for a, b in bonds:
                reverse += [len(source) + 1, len(source)]
                source += [atoms + a, atoms + b]
                target += [atoms + b, atoms + a]
            molecule += [m - begin] * sizes[m]
            atoms += sizes[m]
        graph = (node_features[atom:atom + atoms], edge_features[edge:edge + len(source)],
                 torch.tensor(source), torch.tensor(target), torch.tensor(reverse),
                 torch.tensor(molecule),
                 torch.tensor(sizes[begin:begin + batch], dtype=torch.float32))
        batches.append((graph, y[begin:begin + batch]))
        atom += atoms
        edge += len(source)
    return batches


class Dmpnn(nn.Module):
    """Directed message passing, hidden 128, depth 3; W_i and W_o in two parts each."""

    def __init__(self, hidden=128, tasks=4):
        super().__init__()
        w = Weights()
        self.source = nn.Linear(133, hidden, bias=False)
        with torch.no_grad():
            self.source.weight.copy_(w(133, hidden).T)
        self.edge = linear(w(14, hidden))
        self.message = linear(w(hidden, hidden))
        self.node = nn.Linear(133, hidden, bias=False)
        with torch.no_grad():
            self.node.weight.copy_(w(133, hidden).T)
        self.incoming = linear(w(hidden, hidden))
        self.last = linear(w(hidden, 128))
        self.heads = Heads(*w.stacks(tasks, [128, 64, 1]))

    def forward(self, x, y, source, target, reverse, molecule, sizes):
        first = self.edge(y) + self.source(x).index_select(0, source)
        h = F.relu(first)
        arrived = h.new_zeros(len(x), h.shape[1])
        for _ in range(2):
            m = arrived.index_add(0, target, h).index_select(0, source) - h.index_select(0, reverse)
            h = F.relu(first + self.message(m))
        atoms = F.relu(self.node(x) + self.incoming(arrived.index_add(0, target, h)))
        sums = atoms.new_zeros(len(sizes), h.shape[1]).index_add(0, molecule, atoms)
        return self.heads(F.relu(self.last(sums / sizes[:, None])))


def images(count):
    """Images (N, 1, 36, 36), standardised, and two classes of ten for each."""
    x = numbers(count * 36 * 36, 1)
    x = ((x - x.mean()) / x.std(correction=0)).float().view(count, 1, 36, 36)
    rows = torch.arange(count)
    return (x.contiguous(memory_format=torch.channels_last),
            torch.stack([(rows * 7 + t) % 10 for t in range(2)], 1))


class Convolutional(nn.Module):
    """LeNet with 16 and 32 channels and two heads 84-64-10; channels last."""

    def __init__(self):
        super().__init__()
        w = Weights()
        self.filters = nn.ModuleList()
        for channels, out in (1, 16), (16, 32):
            layer = nn.Conv2d(channels, out, 5)
            with torch.no_grad():
                layer.weight.copy_(w(25 * channels, out).view(5, 5, channels, out)
                                   .permute(3, 2, 0, 1))
                layer.bias.zero_()
            self.filters.append(layer)
        self.dense = nn.Sequential(linear(w(6 * 6 * 32, 120)), nn.ReLU(), linear(w(120, 84)),
                                   nn.ReLU())
        first, last = w.stacks(2, [84, 64, 10])
        self.first = linear(first.permute(1, 0, 2).reshape(84, -1))
        self.last = nn.Parameter(last)
        self.bias = nn.Parameter(torch.zeros(2, 1, 10))

    def losses(self, x, y):
        for layer in self.filters:
            x = F.relu(F.max_pool2d(layer(x), 2))
        h = F.relu(self.first(self.dense(x.permute(0, 2, 3, 1).flatten(1))))
        scores = torch.baddbmm(self.bias, h.view(-1, 2, 64).transpose(0, 1), self.last)
        wrong = F.cross_entropy(scores.flatten(0, 1), y.T.flatten(), reduction='none')
        return wrong.view(2, -1).mean(1)
