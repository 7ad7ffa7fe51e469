# Runs both programs and compares what they print and how large their own objects are.
cmake_minimum_required(VERSION 3.25)

foreach(way IN ITEMS headers library)
  execute_process(COMMAND "${${way}}" OUTPUT_VARIABLE ${way}_bits COMMAND_ERROR_IS_FATAL ANY)
  list(FILTER ${way}_objects INCLUDE REGEX "program[.]cpp")
  file(SIZE "${${way}_objects}" ${way}_size)
endforeach()
if(NOT headers_bits MATCHES "added [-0-9a-fx.p+]+\n$")
  message(FATAL_ERROR "the program printed: ${headers_bits}")
endif()
if(NOT headers_bits STREQUAL library_bits)
  message(FATAL_ERROR "other bits with vierbein::compiled.\nWithout:\n${headers_bits}\nWith:\n${library_bits}")
endif()
math(EXPR limit "${headers_size} / 3")
if(library_size GREATER limit)
  message(FATAL_ERROR "${library_size} bytes of object code with vierbein::compiled, "
                      "${headers_size} without: expected at most a third")
endif()
