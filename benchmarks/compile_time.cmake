# Times compiling a small program that trains a model, compile_time/train.cpp.
#
#     cmake [-DRUNS=3] [-DCOMPILERS="g++;clang++-19"] [-DINCLUDE=<folder>] -P benchmarks/compile_time.cmake
#
# It prints the user seconds of the compiler, which depend less on what else the machine does than
# the wall clock. The cases take turns. INCLUDE names another folder of headers to compare with.
cmake_minimum_required(VERSION 3.25)
if(NOT DEFINED RUNS)
  set(RUNS 3)
endif()
if(NOT DEFINED COMPILERS)
  set(COMPILERS g++ clang++-19)
endif()
if(NOT DEFINED INCLUDE)
  cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH INCLUDE)
  string(APPEND INCLUDE "/include")
endif()
cmake_path(ABSOLUTE_PATH INCLUDE)
set(source "${CMAKE_CURRENT_LIST_DIR}/compile_time/train.cpp")
find_path(eigen Eigen/Core PATHS /usr/include /usr/local/include PATH_SUFFIXES eigen3)
if(NOT eigen)
  message(FATAL_ERROR "benchmarks/compile_time: Eigen is not installed (Debian: libeigen3-dev)")
endif()
execute_process(COMMAND mktemp -d OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)

# Milliseconds in the processor's user mode of one compilation.
function(compile compiler option result)
  set(command "\"$0\" -std=c++20 \"$1\" -fopenmp -I \"$2\" -isystem \"$3\" -c \"$4\" -o \"$5\"")
  execute_process(
    COMMAND sh -c "${command} && times" "${compiler}" "${option}" "${INCLUDE}" "${eigen}" "${source}"
            "${folder}/train.o"
    OUTPUT_VARIABLE times COMMAND_ERROR_IS_FATAL ANY)
  # The second line is that of the children: user and system time, as 1m23.450000s.
  if(NOT times MATCHES "\n([0-9]+)m([0-9]+)[.]([0-9][0-9])[0-9]*s ")
    message(FATAL_ERROR "benchmarks/compile_time: 'times' of sh says '${times}'")
  endif()
  math(EXPR ms "${CMAKE_MATCH_1} * 60000 + ${CMAKE_MATCH_2} * 1000 + 1${CMAKE_MATCH_3}0 - 1000")
  set(${result} ${ms} PARENT_SCOPE)
endfunction()

function(seconds ms result)
  math(EXPR whole "${ms} / 1000")
  math(EXPR rest "${ms} % 1000 / 10 + 100")
  string(SUBSTRING ${rest} 1 2 rest)
  set(text "    ${whole}.${rest}")
  string(LENGTH "${text}" length)
  math(EXPR begin "${length} - 6")
  string(SUBSTRING "${text}" ${begin} 6 text)
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

set(options -fsyntax-only -O0 -O2)
foreach(run RANGE 1 ${RUNS})
  foreach(compiler IN LISTS COMPILERS)
    foreach(option IN LISTS options)
      compile(${compiler} ${option} ms)
      list(APPEND "times ${compiler} ${option}" ${ms})
    endforeach()
  endforeach()
endforeach()
file(REMOVE_RECURSE "${folder}")

message("user seconds: median (least, most) of ${RUNS} compilations of compile_time/train.cpp")
math(EXPR middle "(${RUNS} - 1) / 2")
foreach(compiler IN LISTS COMPILERS)
  execute_process(COMMAND ${compiler} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "^[^\n]*" version "${version}")
  message("${version}")
  foreach(option IN LISTS options)
    set(times ${times\ ${compiler}\ ${option}})
    list(SORT times COMPARE NATURAL)
    list(GET times ${middle} median)
    list(GET times 0 least)
    list(GET times -1 most)
    foreach(value IN ITEMS median least most)
      seconds(${${value}} ${value})
    endforeach()
    string(SUBSTRING "${option}              " 0 14 label)
    message("  ${label} ${median} (${least}, ${most})")
  endforeach()
endforeach()
