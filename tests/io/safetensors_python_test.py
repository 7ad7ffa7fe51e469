"""Reads the samples that safetensors_test.cpp and model_file_test.cpp write with the safetensors
package: FILE, and the model file beside it whose suffix is `.model.safetensors`.

usage: safetensors_python_test.py FILE. Exit code 77: the package or NumPy is not installed.
"""

import json
import sys
from pathlib import Path

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


def check_model(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"unit", "vierbein.format", "vierbein.architecture"}, metadata
    assert metadata["unit"] == "°C", metadata
    assert metadata["vierbein.format"] == "1", metadata
    architecture = json.loads(metadata["vierbein.architecture"])
    assert architecture["encoder"]["kind"] == "mlp", architecture
    assert architecture["encoder"]["widths"] == [4], architecture
    assert architecture["input"] == {"width": 3}, architecture
    assert [task["name"] for task in architecture["tasks"]] == ["a"], architecture

    tensors = load_file(path)
    assert tensors["trunk/layer0/weight"].shape == (3, 4), sorted(tensors)
    assert tensors["task/a/scaling"].shape == (1, 2), sorted(tensors)
    assert all(tensor.dtype == np.float32 for tensor in tensors.values())
    print(f"{path}: {len(tensors)} tensors of a model as expected")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
    check_model(Path(sys.argv[1]).with_suffix(".model.safetensors"))
