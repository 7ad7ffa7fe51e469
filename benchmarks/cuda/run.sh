#!/usr/bin/env bash
# Everything that needs a CUDA device, in one call: builds, runs the device's tests, runs them again
# under compute-sanitizer, and measures. Writes build/cuda/device-report.txt; ends with 0 when all
# that ran passed, with 77 when there is no device.
#
#     benchmarks/cuda/run.sh [quick]     `quick`: sanitizer on a part of the tests, small benchmarks
#
# PEER_PYTHON is the Python that has PyTorch for the device [python3].
set -u
cd "$(dirname "$0")/../.." || exit 1
report=build/cuda/device-report.txt
failed=()

cmake --preset cuda && cmake --build --preset cuda --parallel || exit 1
# These need Google Benchmark and RDKit; the rest does without.
for target in steps molecules; do
  cmake --build --preset cuda --parallel --target $target || echo "$target was not built" >&2
done
exec > >(tee "$report") 2>&1

section() { printf '\n==== %s\n' "$*"; }
check() {  # check <what> <command>...
  local what=$1
  shift
  section "$what: $*"
  "$@" || failed+=("$what")
}

section "device"
date -u
git rev-parse HEAD
command -v nvidia-smi > /dev/null &&
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv
build/cuda/bin/cuda_test --count
if [ $? -eq 77 ]; then
  exit 77
fi

check "tests of the device" build/cuda/bin/cuda_test

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null)
if [ -n "$sanitizer" ]; then
  # Instrumented kernels are up to a hundred times slower; racecheck looks at shared memory.
  part=()
  [ "${1:-}" = quick ] && part=(--test-case="*sums*,*normalis*,*products*,*losses*")
  for tool in memcheck racecheck initcheck synccheck; do
    extra=()
    [ $tool = memcheck ] && extra=(--leak-check full)
    # One test asks for more memory than there is, on purpose.
    check "compute-sanitizer $tool" "$sanitizer" --tool $tool "${extra[@]}" --error-exitcode 1 \
      build/cuda/bin/cuda_test --test-case-exclude="more memory than there is" "${part[@]}"
  done
else
  section "compute-sanitizer is not installed: memcheck, racecheck, initcheck, synccheck left out"
fi

check "benchmark" build/cuda/bin/cuda_benchmark "${1:-}"

# Against PyTorch on the same device: eager, torch.compile and CUDA graphs.
part='^cuda'
compile=(--compile)
[ "${1:-}" = quick ] && part='^cuda(-plain)?/(hard|small|gate/T[248]$|dmpnn$)' && compile=()
if [ -x build/cuda/bin/steps ]; then
  check "steps against PyTorch" benchmarks/compare.py --scenarios "$part" "${compile[@]}" \
    --program build/cuda/bin/steps --peer-python "${PEER_PYTHON:-python3}" --rounds 3 \
    --out build/cuda/compare
else
  section "the program steps was not built (Google Benchmark is missing)"
fi

# The example's table, from the device and from the CPU: the same within the noise of rounding.
molecules() {
  build/cuda/bin/molecules --data examples/data/molecules.csv --smiles smiles \
    --sources melting_point,boiling_point,log_p --targets flash_point,dipole_moment \
    --labels 100 --methods single,finetune,addition --seeds 1 --device "$1" \
    --out "build/cuda/molecules-$1"
}
if [ -x build/cuda/bin/molecules ]; then
  check "molecules on the device" molecules cuda
  check "molecules on the CPU" molecules cpu
else
  section "the example molecules was not built (RDKit is missing)"
fi

# Kernels and waits of a few steps, where Nsight Systems is installed.
if command -v nsys > /dev/null; then
  check "profile" nsys profile --force-overwrite=true --stats=true -o build/cuda/profile \
    build/cuda/bin/cuda_benchmark quick
fi

section "result"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed"
