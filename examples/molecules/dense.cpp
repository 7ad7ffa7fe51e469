#include "experiment_body.hpp"

template bool molecules::run_experiment<molecules::dense_inputs>(const settings&,
                                                                 const molecule_table&);
