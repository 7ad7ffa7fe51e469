#include "experiment_body.hpp"

template void molecules::run_experiment<molecules::dmpnn_inputs>(const settings&,
                                                                 const molecule_table&);
