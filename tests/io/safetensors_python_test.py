"""Reads the sample that safetensors_test.cpp writes with the safetensors package.

usage: safetensors_python_test.py FILE. Exit code 77: the package or NumPy is not installed.
"""

import sys

try:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file
except ImportError as reason:
    print(f"skipped: {reason}")
    sys.exit(77)


def main(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata == {
        "format": "vierbein",
        "tasks": '["boiling point", "log P", "µ"]',
    }, metadata

    expected = {
        "head/0/bias": np.array([0.1, -1e300, 5e-324], dtype=np.float64),
        "steps": np.array([[-1], [0], [2**62]], dtype=np.int64),
        "trunk/layer0/weight": np.array([[1, 2, 3], [4, 5, 0.1]], dtype=np.float32),
        "scalar": np.array(1, dtype=np.float32),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }
    tensors = load_file(path)
    assert tensors.keys() == expected.keys(), sorted(tensors)
    for name, want in expected.items():
        found = tensors[name]
        assert found.dtype == want.dtype, (name, found.dtype)
        assert found.shape == want.shape, (name, found.shape)
        assert np.array_equal(found, want), (name, found)
    print(f"{path}: {len(tensors)} tensors as expected")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
