# How our own tests, examples and benchmarks are compiled. None of this reaches a consumer.
include(CheckCXXSourceCompiles)

add_library(vierbein_program_flags INTERFACE)
target_compile_options(vierbein_program_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<BOOL:${VIERBEIN_WARNINGS_AS_ERRORS}>:-Werror>)

if(VIERBEIN_NATIVE)
  # Clang 19 warns about its own choice of features on processors with AVX10; harmless.
  set(plain -march=native -mtune=generic)
  set(quiet ${plain} -Wno-invalid-feature-combination)
  foreach(choice IN ITEMS plain quiet)
    list(JOIN ${choice} " " CMAKE_REQUIRED_FLAGS)
    string(APPEND CMAKE_REQUIRED_FLAGS " -Werror")
    check_cxx_source_compiles("int main() {}" VIERBEIN_HAS_NATIVE_${choice})
    if(VIERBEIN_HAS_NATIVE_${choice})
      target_compile_options(vierbein_program_flags INTERFACE ${${choice}})
      break()
    endif()
    unset(CMAKE_REQUIRED_FLAGS)
  endforeach()
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  check_cxx_source_compiles("#ifndef __AVX__\n#error\n#endif\nint main() {}" VIERBEIN_HAS_AVX)
  if(NOT VIERBEIN_HAS_AVX)
    message(WARNING "vierbein: compiling without AVX, training takes several times as long "
                    "(VIERBEIN_NATIVE is ${VIERBEIN_NATIVE})")
  endif()
endif()
unset(CMAKE_REQUIRED_FLAGS)

# vierbein_program(<name> <source>...): a program in bin/, linked to the components whose headers
# its sources include. Where such a component is not available there is no program, only a message.
function(vierbein_program name)
  set(components)
  foreach(source IN LISTS ARGN)
    file(STRINGS ${source} includes REGEX "^#include [\"<]vierbein/(io|chem)/")
    foreach(line IN LISTS includes)
      string(REGEX MATCH "(io|chem)/" component "${line}")
      list(APPEND components ${CMAKE_MATCH_1})
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES components)
  foreach(component IN LISTS components)
    if(NOT TARGET vierbein::${component})
      message(STATUS "vierbein: no program ${name}, for want of component ${component}")
      return()
    endif()
  endforeach()
  add_executable(${name} ${ARGN})
  list(TRANSFORM components PREPEND vierbein::)
  target_link_libraries(${name} PRIVATE vierbein::vierbein ${components} vierbein_program_flags)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin"
                                           CXX_EXTENSIONS OFF)
endfunction()
