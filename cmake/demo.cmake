# cmake -P cmake/demo.cmake: installs what is missing, builds the example `molecules` and runs it.

set(demo_arguments
  --data examples/data/molecules.csv --smiles smiles
  --sources melting_point,boiling_point,log_p,refractive_index,density,heat_of_vaporisation_298,log_vapour_pressure_298
  --targets flash_point,critical_temperature,log_permittivity,log_viscosity_298,dipole_moment,surface_tension_298,heat_of_fusion,liquid_heat_capacity_298
  --labels 100 --methods single,finetune,addition --encoder dmpnn --seeds 1
  --out build/demo)

include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")
vierbein_setup(${vierbein_build_packages})
vierbein_count_processors(processors)
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH root)

# The output of each command goes straight to the terminal.
function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${root}" RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "this command failed: ${command}")
  endif()
endfunction()
run(${CMAKE_COMMAND} --preset release -DVIERBEIN_BUILD_TESTS=OFF -DVIERBEIN_BUILD_BENCHMARKS=OFF
    --log-level=WARNING)
run(${CMAKE_COMMAND} --build --preset release --target molecules --parallel ${processors})
run(build/release/bin/molecules ${demo_arguments})
