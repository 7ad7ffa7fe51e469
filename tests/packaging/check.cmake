# Installs vierbein to a fresh prefix, then configures, builds and runs the consumer.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${work}")
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
run(${CMAKE_COMMAND} --install "${vierbein_build}" --prefix "${work}/prefix")
run(${CMAKE_COMMAND} -S "${consumer}" -B "${work}/build" -G "${generator}"
    "-DCMAKE_CXX_COMPILER=${compiler}" "-DCMAKE_PREFIX_PATH=${work}/prefix"
    "-DVIERBEIN_SOURCE=${vierbein_source}" "-DCOMPONENTS=${components}" -DCMAKE_BUILD_TYPE=Debug)
run(${CMAKE_COMMAND} --build "${work}/build")
run("${work}/build/consumer")
