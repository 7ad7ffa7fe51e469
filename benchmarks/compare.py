#!/usr/bin/env python3
"""vierbein and PyTorch on the same training steps: one command, one table, one chart.

    benchmarks/compare.py [--scenarios REGEX] [--threads 1|2] [--rounds N] [--peer-python python3]

Builds the program `steps` (preset release), then runs it and peers/pytorch.py scenario by scenario
and round by round, one right after the other and pinned to the same processors, so that a machine
that slows down slows both. Prints where it ran and what the machine can do (multiply-adds,
bandwidth, barrier), then for every scenario our time, the peer's, their ratio with its spread over
the rounds, and the share of what the machine's multiply-adds and memory allow. Leaves results.json, table.md and charts (SVG) in a
folder. README.md in this folder explains the scenarios and the traps. Needs Python 3.9, nothing
else; without PyTorch it prints our side alone.
"""
import argparse
import html
import json
import math
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = Path(__file__).resolve().parent / 'peers' / 'pytorch.py'
INSTALL = ('python3 -m venv build/peer && build/peer/bin/pip install torch torchjd[full], '
           'then --peer-python build/peer/bin/python')
# What steps says of a step beside its time.
FACTS = 'flops', 'parameters', 'bytes', 'held', 'overlap'


class Refusal(Exception):
    """One sentence for the user."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refusal(message)


def read_options():
    p = Parser(prog='compare.py', description='Times training steps of vierbein and PyTorch.')
    p.add_argument('--scenarios', default='', metavar='REGEX', help='those that match; [all]')
    p.add_argument('--threads', type=int, default=1, help='of either side [1]')
    p.add_argument('--rounds', type=int, default=5,
                   help='how often each is measured; weighting/... a fifth as often [5]')
    p.add_argument('--seconds', type=float, default=0.2,
                   help='for each measurement; weighting/... a quarter of it [0.2]')
    p.add_argument('--peer-python', default='python3', metavar='PROGRAM',
                   help='the Python that has PyTorch [python3]')
    p.add_argument('--compile', action='store_true',
                   help='also torch.compile, which takes half a minute for each scenario')
    p.add_argument('--check', action='store_true',
                   help='time nothing: compare numbers of parameters and the losses of five steps')
    p.add_argument('--program', metavar='FILE', help='the program steps [built, preset release]')
    p.add_argument('--out', default=str(ROOT / 'build' / 'compare'), metavar='FOLDER',
                   help='for results.json, table.md and charts [build/compare]')
    o = p.parse_args()
    try:
        re.compile(o.scenarios)
    except re.error as problem:
        raise Refusal(f"--scenarios '{o.scenarios}' is no regular expression: {problem}")
    cpus = len(os.sched_getaffinity(0))
    if not 1 <= o.threads <= cpus:
        raise Refusal(f'--threads must be from 1 to the number of processors, {cpus}, '
                      f'but is {o.threads}')
    if o.rounds < 1:
        raise Refusal(f'--rounds must be positive, but is {o.rounds}')
    if not 0 < o.seconds < math.inf:
        raise Refusal(f'--seconds must be positive, but is {o.seconds}')
    return o


# ---- the two sides

def environment_of(threads):
    """What either side finds set: the same number of threads for every library, threads that stay
    where they are and wait actively, BLAS kernels chosen for this processor."""
    e = dict(os.environ)
    for name in 'OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'OMP_WAIT_POLICY', 'OMP_PROC_BIND':
        e.pop(name, None)
    for name in 'OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS':
        e[name] = str(threads)
    if threads > 1:
        e |= {'OMP_WAIT_POLICY': 'active', 'OMP_PROC_BIND': 'true'}
    return e


def pinned_to(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


class Ours:
    def __init__(self, program, threads, cpus):
        self.program, self.cpus = program, cpus
        self.environment = environment_of(threads)
        self.scenarios = [self.plain(line) for line in self.call('--benchmark_list_tests',
                                                                 '--benchmark_filter=.').split()]

    @staticmethod
    def plain(name):
        return name.removesuffix('/manual_time')

    def call(self, *arguments):
        done = subprocess.run([self.program, *arguments], env=self.environment, text=True,
                              preexec_fn=pinned_to(self.cpus), capture_output=True,
                              start_new_session=True)  # Ctrl-C is for us alone
        if done.returncode != 0:
            raise Refusal(f'{self.program} failed: {done.stderr.strip() or done.returncode}')
        return done.stdout

    def measure(self, pattern, seconds):
        """Name -> what was measured, and the context."""
        answer = json.loads(self.call(f'--benchmark_filter={pattern}', '--benchmark_format=json',
                                      f'--benchmark_min_time={seconds}'))
        found = {}
        for run in answer['benchmarks']:
            name = self.plain(run['name'])
            if 'median' not in run:
                found[name] = {'error': run.get('error_message', 'no iteration')}
                continue
            found[name] = {'seconds': run['median'], 'steps': run['iterations']} | {
                key: run[key] for key in ('p10', 'p90', *FACTS) if key in run}
        return found, answer['context']

    def one(self, name, seconds):
        found, _ = self.measure(f'^{re.escape(name)}(/manual_time)?$'.replace(r'\-', '-'), seconds)
        return found[name]

    def losses(self, pattern):
        lines = self.call('--losses', f'--benchmark_filter={pattern}').splitlines()
        return {one['scenario']: one for one in map(json.loads, lines)}


class Peer:
    """peers/pytorch.py as a process that answers, asleep while we are measured."""

    def __init__(self, python, threads, cpus):
        self.python, self.threads = python, threads
        try:
            self.process = subprocess.Popen(
                [python, str(PEER), '--serve', '--threads', str(threads)],
                env=environment_of(threads), preexec_fn=pinned_to(cpus), text=True,
                start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as problem:
            raise Refusal(f'{python} does not start ({problem.strerror})')
        line = self.process.stdout.readline()
        if not line:
            why = self.process.stderr.read().strip().splitlines()
            raise Refusal(f'{python} cannot run it ({why[-1] if why else "no answer"})')
        self.environment = json.loads(line)
        # Warnings are read by nobody, but a full pipe would stop it.
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
        self.sleep()

    def sleep(self):
        self.process.send_signal(signal.SIGSTOP)

    def measure(self, scenario, method, seconds):
        try:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.write(json.dumps(
                {'scenario': scenario, 'method': method, 'seconds': seconds}) + '\n')
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            self.sleep()
            return answer
        except (OSError, ValueError):  # it has come to an end; ours are measured on
            return {'error': 'the peer has ended'}

    def losses(self, pattern):
        done = subprocess.run([self.python, str(PEER), '--losses', '--scenarios', pattern,
                               '--threads', str(self.threads)], capture_output=True, text=True)
        return {one['scenario']: one for one in map(json.loads, done.stdout.splitlines())}

    def end(self):
        self.process.kill()
        self.process.wait()


# ---- measuring

def is_weighting(name):
    return name.startswith('weighting/')


def run_rounds(ours, peer, names, methods, o):
    """[{scenario, round, ours, peers: {method: ...}}]; what there is when it is interrupted."""
    taken = []
    plan = [(r, name) for r in range(o.rounds) for name in names
            if not is_weighting(name) or r % 5 == 0]
    begin = time.time()
    try:
        for k, (r, name) in enumerate(plan):
            if sys.stderr.isatty():
                print(f'\r{time.time() - begin:4.0f} s, round {r + 1} of {o.rounds}, '
                      f'{k + 1} of {len(plan)}: {name:<40}', end='', file=sys.stderr)
            seconds = o.seconds / 4 if is_weighting(name) else o.seconds
            entry = {'scenario': name, 'round': r, 'ours': ours.one(name, seconds), 'peers': {}}
            for method in methods.get(name, ()):
                entry['peers'][method] = peer.measure(name, method, seconds)
            taken.append(entry)
    except KeyboardInterrupt:
        print('\ninterrupted: what follows is what was measured until then', file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return taken


def summed_up(times):
    """Median over rounds of the median and of the tenths; None without any."""
    good = [t for t in times if 'seconds' in t]
    if not good:
        return None
    return {key: statistics.median(t[key] for t in good) for key in ('seconds', 'p10', 'p90')}


def device_peaks(*figures):
    """Prefix of a device's scenarios -> what the device does at best in their kind of products."""
    kinds = {'cuda': 'float', 'cuda-plain': 'float', 'cuda-tf32': 'tf32', 'cuda-bf16': 'bf16'}
    seen = {prefix: [f[f'device/{kind}'] for f in figures if f'device/{kind}' in f]
            for prefix, kind in kinds.items()}
    return {prefix: max(rates) for prefix, rates in seen.items() if rates}


def least_time(facts, peak, bandwidths):
    """Seconds that the roofline allows: the products at the peak, and what passes of their own move
    at the bandwidth of the level that holds it, one after the other; or, where the products
    themselves read it, the longer of the two. None where nothing is known."""
    arithmetic = (facts.get('flops') or 0) / peak / 1e9
    memory = 0
    if facts.get('bytes') and bandwidths:
        fits = [size for size in bandwidths if size >= facts['held']] or [max(bandwidths)]
        memory = facts['bytes'] / bandwidths[min(fits)] / 1e9
    both = max(arithmetic, memory) if facts.get('overlap') else arithmetic + memory
    return both or None


def bandwidths_of(figures, threads):
    """Bytes that are held, by all threads together -> GB/s."""
    units = {'KiB': 2 ** 10, 'MiB': 2 ** 20, 'GiB': 2 ** 30}
    return {threads * int(name[len('triad/'):-3]) * units[name[-3:]]: rate
            for name, rate in figures.items() if name.startswith('triad/')}


def summary(taken, peak, device=None, bandwidths=None):
    """One row a scenario, in the order in which they were measured."""
    rows = []
    for name in dict.fromkeys(e['scenario'] for e in taken):
        entries = [e for e in taken if e['scenario'] == name]
        row = {'scenario': name, 'ours': summed_up([e['ours'] for e in entries]), 'peers': {}}
        first = entries[0]['ours']
        row |= {key: first.get(key) for key in (*FACTS, 'error')}
        if row['ours'] and row['flops']:
            row['gflops'] = row['flops'] / row['ours']['seconds'] / 1e9
        on_device = (device or {}).get(name.split('/')[0])
        least = least_time(row, on_device or peak, {} if on_device else bandwidths)
        if row['ours'] and least:
            row['share'] = least / row['ours']['seconds']
            row['best_share'] = least / row['ours']['p10']
        for method in entries[0]['peers']:
            peer = summed_up([e['peers'].get(method, {}) for e in entries])
            ratios = [e['peers'][method]['seconds'] / e['ours']['seconds'] for e in entries
                      if 'seconds' in e['ours'] and 'seconds' in e['peers'].get(method, {})]
            if peer and ratios:
                row['peers'][method] = peer | {
                    'ratio': statistics.median(ratios), 'least': min(ratios), 'most': max(ratios),
                    'parameters': entries[0]['peers'][method].get('parameters')}
            else:
                row['peers'][method] = {'error': entries[0]['peers'][method].get('error')}
        timed = [m for m, p in row['peers'].items() if 'seconds' in p]
        row['fastest'] = min(timed, key=lambda m: row['peers'][m]['seconds'], default=None)
        rows.append(row)
    return rows


def probe(ours, seconds):
    found, context = ours.measure('^probe/', seconds)
    figures = {}
    for name, p in found.items():
        kind = name.removeprefix('probe/')
        if 'flops' in p:
            figures[kind] = p['flops'] / p['seconds'] / 1e9
        elif 'bytes' in p:
            figures[kind] = p['bytes'] / p['seconds'] / 1e9
        else:
            figures[kind] = p['seconds'] * 1e6 / 1000
    return figures, context


# ---- showing

def milliseconds(seconds):
    ms = 1e3 * seconds
    return f'{ms:.3g}' if ms < 100 else f'{ms:.0f}'


def span(t):
    return f'{milliseconds(t["seconds"])} ({milliseconds(t["p10"])}–{milliseconds(t["p90"])})'


def times(ratio):
    return f'{ratio:.2f}' if ratio < 9.95 else f'{ratio:.0f}'


def markdown(rows, header):
    lines = ['| ' + ' | '.join(header) + ' |',
             '|' + '|'.join('---' if i == 0 else '---:' for i in range(len(header))) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows]) + '\n'


def step_table(rows):
    lines = []
    for row in rows:
        best = row['peers'].get(row['fastest'])
        others = [f'{m} {times(p["ratio"])}' if 'ratio' in p else f'{m} failed'
                  for m, p in row['peers'].items() if m != row['fastest']]
        lines.append([
            row['scenario'],
            span(row['ours']) if row['ours'] else str(row['error']),
            f'{row["gflops"]:.0f}' if row.get('gflops') else '',
            f'{100 * row["share"]:.0f} % ({100 * row["best_share"]:.0f})'
            if row.get('share') else '',
            f'{span(best)} {row["fastest"]}' if best else '',
            f'**{times(best["ratio"])}** ({times(best["least"])}–{times(best["most"])})'
            if best else '',
            ', '.join(others)])
    return markdown(lines, ['scenario', 'ours, ms (10–90 %)', 'GFLOP/s',
                            'of roofline (best tenth)', 'fastest peer, ms', 'peer / ours (rounds)', 'other peers / ours'])


def weighting_table(rows):
    """A policy a row; ours in ms and the ratio to the fastest peer."""
    cells, columns = {}, {}
    for row in rows:
        _, policy, tasks, size = row['scenario'].split('/')
        text = milliseconds(row['ours']['seconds']) if row['ours'] else '–'
        if row['fastest']:
            text += f', **{times(row["peers"][row["fastest"]]["ratio"])}** {row["fastest"]}'
        cells.setdefault(policy, {})[f'{tasks}, {size}'] = text
        columns[f'{tasks}, {size}'] = None
    return markdown([[policy] + [of.get(c, '') for c in columns] for policy, of in cells.items()],
                    ['policy: ms, peer / ours', *columns])


def chart(rows, title, note):
    """Bars of the ratios on a logarithmic axis, as SVG."""
    rows = [r for r in rows if r['fastest']]
    if not rows:
        return None
    ratios = {r['scenario']: r['peers'][r['fastest']] for r in rows}
    low = min(1.0, min(p['least'] for p in ratios.values()))
    high = max(1.0, max(p['most'] for p in ratios.values()))
    marks = [m for m in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
             if low / 2.5 < m < high * 2.5]
    low, high = min(low, marks[0]), max(high, marks[-1])
    left, width, top, step = 250, 470, 66, 22

    def x(ratio):
        return left + width * math.log(ratio / low) / math.log(high / low)
    bottom = top + step * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 190}" '
           f'height="{bottom + 60}" font-family="sans-serif" font-size="13" fill="#222222">',
           '<rect width="100%" height="100%" fill="#FFFFFF"/>',
           f'<text x="20" y="28" font-size="17">{html.escape(title)}</text>',
           f'<text x="20" y="48" fill="#5B5B5B">{html.escape(note)}</text>']
    for m in marks:
        out.append(f'<line x1="{x(m):.1f}" y1="{top}" x2="{x(m):.1f}" y2="{bottom}" '
                   f'stroke="{"#222222" if m == 1 else "#DDDDDD"}"/>'
                   f'<text x="{x(m):.1f}" y="{bottom + 18}" text-anchor="middle">{m:g}×</text>')
    for k, row in enumerate(rows):
        p = ratios[row['scenario']]
        y = top + step * k
        begin, end = sorted((x(1), x(p['ratio'])))
        colour = '#0072B2' if p['ratio'] >= 1 else '#D55E00'
        out.append(
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end">'
            f'{html.escape(row["scenario"])}</text>'
            f'<rect x="{begin:.1f}" y="{y + 4}" width="{max(1, end - begin):.1f}" '
            f'height="{step - 8}" fill="{colour}"/>'
            f'<line x1="{x(p["least"]):.1f}" y1="{y + step / 2}" x2="{x(p["most"]):.1f}" '
            f'y2="{y + step / 2}" stroke="#222222" stroke-width="2"/>'
            f'<text x="{max(end, x(p["most"])) + 8:.1f}" y="{y + 15}">'
            f'{times(p["ratio"])}× {html.escape(row["fastest"])}</text>')
    out.append(f'<text x="{left + width / 2}" y="{bottom + 44}" text-anchor="middle">'
               'time of the fastest peer / ours; line: least and most over the rounds</text></svg>')
    return '\n'.join(out) + '\n'


def processor():
    try:
        text = Path('/proc/cpuinfo').read_text()
        return re.search(r'model name\s*: (.*)', text).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def describe(context, figures, peer, o, cpus):
    """The lines that say where it ran and what the machine can do."""
    lines = [f'processor: {processor()}, pinned to {", ".join(map(str, cpus))}, '
             f'{o.threads} thread{"s" if o.threads > 1 else ""}, load '
             f'{os.getloadavg()[0]:.1f} at the beginning, {platform.system()} '
             f'{platform.release()}',
             f'ours: {context.get("compiler", "?")}, {context.get("options", "?")}; '
             f'registers: {context.get("registers", "?")}; threads: {context.get("threads", "?")}']
    if peer:
        e = peer.environment
        lines.append(f'peer: PyTorch {e["torch"]}, {e["blas"]}, {e["capability"]}, '
                     f'{e["threads"]} thread{"s" if e["threads"] > 1 else ""}; '
                     f'TorchJD {e["torchjd"]}')
    fma = ', '.join(f'{g:.0f} ({k.removeprefix("fma/")} bits)' for k, g in figures.items()
                    if k.startswith('fma/'))
    triad = ', '.join(f'{g:.0f} ({k.removeprefix("triad/")})' for k, g in figures.items()
                      if k.startswith('triad/'))
    device = ', '.join(f'{g:.0f} ({k.removeprefix("device/")})' for k, g in figures.items()
                       if k.startswith('device/'))
    if device:
        lines.append(f'device: {e.get("device", "?") if peer else "?"}; products in GFLOP/s, copy '
                     f'in GB/s: {device}')
    return lines + [f'multiply-adds, float, GFLOP/s: {fma}', f'triad, GB/s: {triad}',
                    f'barrier {figures["barrier"]:.3f} µs, parallel region '
                    f'{figures["fork"]:.3f} µs',
                    f'{o.rounds} rounds of {o.seconds:g} s for each scenario and method, '
                    f'{time.strftime("%Y-%m-%d %H:%M")}']


def write_results(folder, lines, rows, taken, more):
    folder.mkdir(parents=True, exist_ok=True)
    plain = [r for r in rows if not is_weighting(r['scenario'])]
    weighting = [r for r in rows if is_weighting(r['scenario'])]
    table = '\n'.join(f'- {line}' for line in lines) + '\n'
    if plain:
        table += '\n' + step_table(plain)
    if weighting:
        table += '\n' + weighting_table(weighting)
    (folder / 'table.md').write_text(table)
    (folder / 'results.json').write_text(json.dumps(
        {'environment': lines, 'rows': rows, 'measured': taken} | more, indent=1))
    for name, some, title in (
            ('chart.svg', plain, 'Training steps: how many times faster than PyTorch'),
            ('weightings.svg', weighting, 'A step by each policy: how many times faster')):
        picture = chart(some, title, f'{more["threads"]} thread'
                        f'{"s" if more["threads"] > 1 else ""}, {processor()}')
        if picture:
            (folder / name).write_text(picture)
    return table


def check(ours, peer, pattern):
    """Whether both sides train the same: parameters and losses by formula. In GATE the noise
    differs, so that its losses agree before the first step only."""
    wanted = [n for n in ours.scenarios
              if re.search(pattern, n) and re.match('hard|small|gate|dmpnn|conv', n)]
    if not wanted:
        raise Refusal('--check: hard, small, gate, dmpnn and convolutional have losses to compare')
    mine = ours.losses('^(' + '|'.join(wanted) + ')(/manual_time)?$')
    theirs = peer.losses('^(' + '|'.join(wanted) + ')$')
    good = True
    rows = []
    for name in wanted:
        a, b = mine[name], theirs.get(name, {'parameters': 0, 'losses': []})
        apart = [abs(x - y) / abs(x) for x, y in zip(a['losses'], b['losses'])]
        apart = apart[:1] if name.startswith('gate') else apart
        fine = a['parameters'] == b['parameters'] and apart and max(apart) < 1e-5
        good = good and bool(fine)
        rows.append([name, f'{a["parameters"]:.0f}', f'{b["parameters"]:.0f}',
                     f'{a["losses"][0]:.6f} … {a["losses"][-1]:.6f}',
                     f'{max(apart, default=math.nan):.1e}', 'yes' if fine else 'NO'])
    print(markdown(rows, ['scenario', 'parameters, ours', 'peer', 'losses of five steps',
                          'largest relative difference', 'same']))
    return good


# ---- putting it together

def built(program):
    """The program, built if none was named."""
    if program:
        if not os.access(program, os.X_OK):
            raise Refusal(f'--program {program} cannot be run')
        return str(Path(program).resolve())
    for command in (['cmake', '--preset', 'release', '--log-level=WARNING'],
                    ['cmake', '--build', '--preset', 'release', '--target', 'steps']):
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        except OSError:
            raise Refusal('CMake is needed to build the program steps')
        if done.returncode != 0:
            text = done.stdout + done.stderr
            if "unknown target 'steps'" in text:
                raise Refusal('the program steps needs Google Benchmark (Debian: libbenchmark-dev)')
            print(text, file=sys.stderr)
            raise Refusal(f'{" ".join(command)} failed')
    return str(ROOT / 'build' / 'release' / 'bin' / 'steps')


def find_peer(o, cpus):
    try:
        return Peer(o.peer_python, o.threads, cpus)
    except Refusal as why:
        print(f'No peer, since {why}: to get one, {INSTALL}.\n')
        return None


def compare(o):
    cpus = sorted(os.sched_getaffinity(0))[-o.threads:]
    ours = Ours(built(o.program), o.threads, cpus)
    names = [n for n in ours.scenarios
             if re.search(o.scenarios, n) and not n.startswith('probe/')]
    if not names:
        raise Refusal(f"no scenario matches '{o.scenarios}'; there are "
                      f'{", ".join(sorted({n.split("/")[0] for n in ours.scenarios}))}')
    peer = find_peer(o, cpus)
    try:
        if o.check:
            if not peer:
                raise Refusal('--check needs the peer')
            return check(ours, peer, o.scenarios)
        methods = peer.environment['methods'] if peer else {}
        methods = {n: [m for m in ways if o.compile or m != 'compile']
                   for n, ways in methods.items()}
        figures, context = probe(ours, o.seconds)
        lines = describe(context, figures, peer, o, cpus)
        print('\n'.join(lines), flush=True)
        taken = run_rounds(ours, peer, names, methods, o)
        after, _ = probe(ours, o.seconds)
    finally:
        if peer:
            peer.end()
    # The peak is the best that was seen: a machine that was slow during the probe is no faster.
    best = [max(v for k, v in f.items() if k.startswith('fma/')) for f in (figures, after)]
    peak, change = max(best), best[1] / max(best)
    lines.append(f'peak {peak:.0f} GFLOP/s; {100 * change:.0f} % of it at the end of the run')
    print(lines[-1] + '\n')
    bandwidths = {size: max(rate, bandwidths_of(after, o.threads).get(size, 0))
                  for size, rate in bandwidths_of(figures, o.threads).items()}
    rows = summary(taken, peak, device_peaks(figures, after), bandwidths)
    print(write_results(Path(o.out), lines, rows, taken,
                        {'threads': o.threads, 'peak_gflops': peak,
                         'probes': [figures, after]}).split('\n\n', 1)[-1])
    print(f'{o.out}: results.json, table.md and charts')
    return True


def stop(*_):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, stop)
    try:
        return 0 if compare(read_options()) else 1
    except Refusal as sentence:
        print(f'compare.py: {sentence}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
