"""benchmarks/compare.py with stand-ins for both sides: what it prints, leaves and refuses."""
import json
import stat
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / 'benchmarks'
sys.path.insert(0, str(FOLDER))
import compare  # noqa: E402

# Says what steps says: 2 ms for each scenario, 100 GFLOP/s as the peak.
PROGRAM = '''#!/usr/bin/env python3
import json, re, sys
names = ['hard/T4', 'weighting/pcgrad/T4/1M', 'probe/fma/512', 'probe/barrier', 'probe/fork']
if '--benchmark_list_tests' in ' '.join(sys.argv):
    print('\\n'.join(n + '/manual_time' for n in names))
    sys.exit()
pattern = [a for a in sys.argv if 'filter=' in a][0].split('=', 1)[1]
runs = []
for n in names:
    if re.search(pattern, n + '/manual_time'):
        run = {'name': n + '/manual_time', 'median': 2e-3, 'p10': 1e-3, 'p90': 3e-3,
               'iterations': 7}
        if 'fma' in n:
            run['flops'] = 2e8
        elif 'probe' not in n:
            run |= {'flops': 1e8, 'parameters': 10}
        runs.append(run)
print(json.dumps({'context': {'threads': '1'}, 'benchmarks': runs}))
'''


def row(name, ratio, least, most):
    peer = {'seconds': 2e-3 * ratio, 'p10': 1e-3, 'p90': 3e-3, 'ratio': ratio, 'least': least,
            'most': most, 'parameters': 10}
    return {'scenario': name, 'ours': {'seconds': 2e-3, 'p10': 1e-3, 'p90': 3e-3},
            'peers': {'eager': peer}, 'fastest': 'eager', 'flops': None, 'error': None}


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.program = Path(self.folder.name) / 'steps'
        self.program.write_text(PROGRAM)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def tearDown(self):
        self.folder.cleanup()

    def run_it(self, *arguments):
        return subprocess.run([sys.executable, str(FOLDER / 'compare.py'), *arguments],
                              capture_output=True, text=True)

    def test_without_a_peer_ours_alone(self):
        out = Path(self.folder.name) / 'out'
        done = self.run_it('--program', str(self.program), '--peer-python', 'no-such-python',
                           '--rounds', '2', '--out', str(out))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('No peer, since no-such-python does not start', done.stdout)
        self.assertIn('| hard/T4 | 2 (1–3) | 50 | 50 % (100) |', done.stdout)
        self.assertIn('| pcgrad | 2 |', (out / 'table.md').read_text())
        results = json.loads((out / 'results.json').read_text())
        self.assertEqual(results['peak_gflops'], 100)
        # Two rounds of hard/T4, and one in five of a weighting.
        self.assertEqual([e['scenario'] for e in results['measured']],
                         ['hard/T4', 'weighting/pcgrad/T4/1M', 'hard/T4'])

    def test_a_share_is_that_of_the_device_for_its_scenarios(self):
        device = compare.device_peaks({'fma/512': 2, 'device/float': 10, 'device/bf16': 80},
                                      {'device/float': 20})
        self.assertEqual(device, {'cuda': 20, 'cuda-plain': 20, 'cuda-bf16': 80})

        def entry(name):
            return {'scenario': name, 'round': 0, 'peers': {},
                    'ours': {'seconds': 1, 'p10': 1, 'p90': 1, 'flops': 1e9}}
        found = compare.summary([entry('hard/T4'), entry('cuda/hard/T4'), entry('cuda-bf16/large')],
                                2, device)
        self.assertEqual([r['share'] for r in found], [1 / 2, 1 / 20, 1 / 80])

    def test_the_roofline_adds_or_overlaps_what_memory_takes(self):
        levels = compare.bandwidths_of({'triad/512KiB': 100, 'triad/1GiB': 10, 'fma/512': 2}, 2)
        self.assertEqual(levels, {2 ** 20: 100, 2 ** 31: 10})
        step = {'flops': 4e9, 'bytes': 30e9, 'held': 2 ** 20, 'overlap': 0}
        self.assertAlmostEqual(compare.least_time(step, 2, levels), 2.3)
        self.assertAlmostEqual(compare.least_time(step | {'held': 2 ** 20 + 1}, 2, levels), 5)
        self.assertAlmostEqual(compare.least_time(step | {'held': 2 ** 40}, 2, levels), 5)
        self.assertAlmostEqual(compare.least_time(step | {'overlap': 1}, 2, levels), 2)
        self.assertAlmostEqual(
            compare.least_time(step | {'overlap': 1, 'held': 2 ** 30}, 2, levels), 3)
        self.assertAlmostEqual(compare.least_time(step, 2, {}), 2)
        self.assertIsNone(compare.least_time({'flops': None}, 2, levels))

    def test_ratios_are_taken_round_by_round(self):
        def entry(r, ours, peer):
            def times(s):
                return {'seconds': s, 'p10': s, 'p90': s, 'flops': 1e9}
            return {'scenario': 'a', 'round': r, 'ours': times(ours),
                    'peers': {'eager': times(peer), 'compile': {'error': 'no compiler'}}}
        found, = compare.summary([entry(0, 1, 2), entry(1, 2, 6), entry(2, 4, 4)], peak=2)
        self.assertEqual(found['fastest'], 'eager')
        p = found['peers']['eager']
        self.assertEqual((p['ratio'], p['least'], p['most']), (2, 1, 3))
        self.assertEqual((found['gflops'], found['share']), (0.5, 0.25))
        table = compare.step_table([found])
        self.assertIn('**2.00** (1.00–3.00) | compile failed |', table)

    def test_chart(self):
        rows = [row('quick <1>', 30, 25, 35), row('slow', 0.5, 0.4, 0.6)]
        picture = compare.chart(rows, 'T', 'n')
        root = xml.dom.minidom.parseString(picture)
        self.assertEqual([r.getAttribute('fill') for r in root.getElementsByTagName('rect')][1:],
                         ['#0072B2', '#D55E00'])
        self.assertIn('quick &lt;1&gt;', picture)
        self.assertIsNone(compare.chart([row('a', 1, 1, 1) | {'fastest': None}], 'T', 'n'))

    def test_refusals_are_one_sentence(self):
        for arguments, text in (
                (['--threads', '0'], '--threads must be from 1'),
                (['--scenarios', '('], 'is no regular expression'),
                (['--rounds', '0'], '--rounds must be positive'),
                (['--seconds', 'nan'], '--seconds must be positive'),
                (['--no-such-option'], 'unrecognized arguments: --no-such-option'),
                (['--program', '/no/such/program'], 'cannot be run'),
                (['--program', str(self.program), '--scenarios', 'gone'],
                 "no scenario matches 'gone'; there are hard, probe, weighting")):
            done = self.run_it(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count('\n'), 1, done.stderr)


if __name__ == '__main__':
    unittest.main()
