# cmake -Dcase=<file> -Dsettings=<file> -P check.cmake
cmake_minimum_required(VERSION 3.25)

include("${settings}")

file(STRINGS "${case}" expectations REGEX "^// expect: ")
if(NOT expectations)
  message(FATAL_ERROR "${case}: the first line must be '// expect: <part of the message>'")
endif()
list(TRANSFORM folders PREPEND -I)
execute_process(COMMAND ${compiler} -std=c++20 -fsyntax-only ${folders} "${case}"
                RESULT_VARIABLE result ERROR_VARIABLE messages)
if(result EQUAL 0)
  message(FATAL_ERROR "${case}: compiles, but must not")
endif()
foreach(expectation IN LISTS expectations)
  string(REPLACE "// expect: " "" expectation "${expectation}")
  string(FIND "${messages}" "${expectation}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${case}: the compiler does not say '${expectation}' but:\n${messages}")
  endif()
endforeach()
