# cmake -Dclang_format=<program> -Droot=<folder> -P check.cmake
cmake_minimum_required(VERSION 3.25)

set(files)
foreach(folder IN ITEMS include tests examples benchmarks)
  file(GLOB_RECURSE found "${root}/${folder}/*.hpp" "${root}/${folder}/*.cpp"
       "${root}/${folder}/*.cu" "${root}/${folder}/*.cuh")
  list(APPEND files ${found})
endforeach()
execute_process(COMMAND ${clang_format} --dry-run -Werror ${files}
                RESULT_VARIABLE result ERROR_VARIABLE messages)
if(NOT result EQUAL 0)
  string(REGEX MATCHALL "[^\n]+:[0-9]+:[0-9]+: error" wrong "${messages}")
  list(TRANSFORM wrong REPLACE ":[0-9]+:[0-9]+: error$" "")
  list(REMOVE_DUPLICATES wrong)
  list(JOIN wrong "\n  " wrong)
  if(NOT wrong)
    message(FATAL_ERROR "${clang_format}: ${result} ${messages}")
  endif()
  message(FATAL_ERROR "run clang-format-19 -i on\n  ${wrong}")
endif()
