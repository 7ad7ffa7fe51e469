# cmake -P cmake/demo.cmake: installs what is missing, builds the example `molecules` and runs it.

set(demo_arguments
  --data examples/data/molecules.csv
  --smiles smiles
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
