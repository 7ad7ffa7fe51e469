#include "experiment_body.hpp"
#include "vierbein/backend/cpu.hpp"

template bool molecules::run_experiment<molecules::dense_inputs, vierbein::backend::cpu>(
    const settings&, const molecule_table&, const vierbein::backend::cpu&);
