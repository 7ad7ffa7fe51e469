"""How many molecules a second Chemprop trains on and predicts: what ../smiles.cpp does.

    chemprop_smiles.py [data.csv [molecules [epochs [threads]]]]

Graphs are made once and kept; the training loop is written out, without Lightning, which is faster.
Needs chemprop 2 (pip install chemprop).
"""
import csv
import math
import os
import statistics
import sys
import time

path = sys.argv[1] if len(sys.argv) > 1 else 'examples/data/molecules.csv'
count, epochs, threads = (int(v) for v in (sys.argv[2:] + ['2000', '5', '1'][len(sys.argv[2:]):]))
for name in 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS':
    os.environ[name] = str(threads)

import torch  # noqa: E402
from chemprop import data, featurizers, models, nn  # noqa: E402

torch.set_num_threads(threads)
torch.set_flush_denormal(True)
torch.manual_seed(1)


def first_rows():
    rows = []
    for row in csv.DictReader(open(path)):
        label = float(row['melting_point'] or 'nan')
        if math.isfinite(label) and len(rows) < count:
            rows.append((row['smiles'], [label]))
    return rows


def dataset(rows):
    points = [data.MoleculeDatapoint.from_smi(smiles, label) for smiles, label in rows]
    made = data.MoleculeDataset(points, featurizers.SimpleMoleculeMolGraphFeaturizer())
    made.cache = True  # makes all graphs now
    return made


def rate(passes, f):
    before = time.perf_counter()
    result = f()
    return len(rows) * passes / (time.perf_counter() - before), result


def train(model, made):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loader = data.build_dataloader(made, batch_size=64, num_workers=0)
    model.train()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad(set_to_none=True)
            predicted = model(batch.bmg, batch.V_d, batch.X_d)
            torch.nn.functional.mse_loss(predicted, batch.Y).backward()
            optimizer.step()


def predict(model):
    model.eval()
    loader = data.build_dataloader(dataset(rows), batch_size=512, shuffle=False, num_workers=0)
    with torch.inference_mode():
        return torch.cat([model(b.bmg, b.V_d, b.X_d) for b in loader])


rows = first_rows()
rates = [], [], []
for _ in range(3):
    reading, made = rate(1, lambda: dataset(rows))
    made.normalize_targets()
    made.cache = True
    network = models.MPNN(nn.BondMessagePassing(d_h=300, depth=3), nn.MeanAggregation(),
                          nn.RegressionFFN(input_dim=300, hidden_dim=300, n_layers=1),
                          batch_norm=False)
    training, _ = rate(epochs, lambda: train(network, made))
    predicting, _ = rate(1, lambda: predict(network))
    for list_of, value in zip(rates, (reading, training, predicting)):
        list_of.append(value)
print(f'{len(rows)} molecules, molecules a second, median of three: reading {{:.0f}}, training '
      '{:.0f}, from SMILES to prediction {:.0f}'.format(*map(statistics.median, rates)))
