# Times compiling a small program that trains a model, compile_time/train.cpp: with the headers
# alone, with vierbein::compiled, and with that and a precompiled header.
#
#     cmake [-DRUNS=3] [-DCOMPILERS="g++;clang++-19"] [-DINCLUDE=<folder>] -P benchmarks/compile_time.cmake
#
# It prints the user seconds of the compiler, which depend less on what else the machine does than
# the wall clock, and the budget where there is one. The cases take turns. INCLUDE names another
# folder of headers to compare with.
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
set(train "${CMAKE_CURRENT_LIST_DIR}/compile_time/train.cpp")
set(library "${INCLUDE}/vierbein/compiled/library.cpp")
find_path(eigen Eigen/Core PATHS /usr/include /usr/local/include PATH_SUFFIXES eigen3)
if(NOT eigen)
  message(FATAL_ERROR "benchmarks/compile_time: Eigen is not installed (Debian: libeigen3-dev)")
endif()
execute_process(COMMAND mktemp -d OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)

# Milliseconds in the processor's user mode of one compilation.
function(compile compiler source output options result)
  separate_arguments(options)
  execute_process(
    COMMAND sh -c "\"$@\" && times" sh "${compiler}" -std=c++20 -fopenmp -I "${INCLUDE}"
            -isystem "${eigen}" ${options} "${source}" -o "${output}"
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

# case(<label> <source> <options> [<budget>]): in its turn, and in the table.
set(count 0)
macro(case label source options)
  set(label_${count} "${label}")
  set(source_${count} "${source}")
  set(options_${count} "${options}")
  set(budget_${count} "${ARGN}")
  math(EXPR count "${count} + 1")
endmacro()
case("headers, -fsyntax-only" "${train}" "-fsyntax-only")
case("headers, -O0" "${train}" "-O0 -c")
case("headers, -O2" "${train}" "-O2 -c" "4 s")
if(EXISTS "${library}")
  case("compiled, -O2" "${train}" "-O2 -c -DVIERBEIN_COMPILED" "2 s")
  case("the same and a precompiled header" "${train}"
       "-O2 -c -DVIERBEIN_COMPILED -include ${folder}/vierbein.hpp")
  case("  once a program: the library" "${library}" "-O2 -c -DVIERBEIN_COMPILED")
  case("  once a program: the header" "${folder}/vierbein.hpp"
       "-O2 -x c++-header -DVIERBEIN_COMPILED")
endif()
file(WRITE "${folder}/vierbein.hpp" "#include <vierbein/vierbein.hpp>\n")
math(EXPR last "${count} - 1")

foreach(compiler IN LISTS COMPILERS)
  foreach(run RANGE 1 ${RUNS})
    # The header comes last and is there from the second round on: so make it once before.
    if(run EQUAL 1 AND EXISTS "${library}")
      compile(${compiler} "${folder}/vierbein.hpp" "${folder}/vierbein.hpp.gch"
              "-O2 -x c++-header -DVIERBEIN_COMPILED" ms)
    endif()
    foreach(i RANGE ${last})
      set(output "${folder}/out.o")
      if(options_${i} MATCHES "c[+][+]-header")
        set(output "${folder}/vierbein.hpp.gch")
      endif()
      compile(${compiler} "${source_${i}}" "${output}" "${options_${i}}" ms)
      list(APPEND "times ${compiler} ${i}" ${ms})
    endforeach()
  endforeach()
  file(REMOVE "${folder}/vierbein.hpp.gch")
endforeach()
file(REMOVE_RECURSE "${folder}")

message("user seconds: median (least, most) of ${RUNS} compilations of compile_time/train.cpp")
math(EXPR middle "(${RUNS} - 1) / 2")
foreach(compiler IN LISTS COMPILERS)
  execute_process(COMMAND ${compiler} --version OUTPUT_VARIABLE version COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "^[^\n]*" version "${version}")
  message("${version}")
  foreach(i RANGE ${last})
    set(times ${times\ ${compiler}\ ${i}})
    list(SORT times COMPARE NATURAL)
    list(GET times ${middle} median)
    list(GET times 0 least)
    list(GET times -1 most)
    foreach(value IN ITEMS median least most)
      seconds(${${value}} ${value})
    endforeach()
    string(SUBSTRING "${label_${i}}                                    " 0 36 label)
    set(budget)
    if(budget_${i})
      set(budget ", budget ${budget_${i}}")
    endif()
    message("  ${label} ${median} (${least}, ${most})${budget}")
  endforeach()
endforeach()
