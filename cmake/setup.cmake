# What the scripts demo.cmake and test.cmake share: installing packages, counting processors.
cmake_minimum_required(VERSION 3.25)

# vierbein_setup(<debian package>...): installs those that are missing.
function(vierbein_setup)
  find_program(apt_get apt-get)
  if(NOT apt_get)
    message(NOTICE "This system has no apt-get: please see to it that g++ 12 or later, Ninja, "
                   "libcsv, zlib and RDKit (with Boost's headers) are installed, and for the tests "
                   "also clang 19; CMake downloads the header libraries that it does not find.")
    return()
  endif()
  execute_process(COMMAND dpkg-query --show "--showformat=\${Package} \${db:Status-Status}\n"
                          ${ARGN}
                  OUTPUT_VARIABLE known ERROR_QUIET)
  set(missing)
  foreach(package IN LISTS ARGN)
    string(FIND "\n${known}" "\n${package} installed\n" position)
    if(position EQUAL -1)
      list(APPEND missing ${package})
    endif()
  endforeach()
  if(NOT missing)
    return()
  endif()

  list(JOIN missing " " names)
  execute_process(COMMAND id -u OUTPUT_VARIABLE user OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(as_root)
  if(NOT user EQUAL 0)
    set(as_root sudo -n)
    execute_process(COMMAND sudo -n true RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "Some packages are missing; please run: sudo apt-get install ${names}")
    endif()
  endif()
  message(STATUS "Installing ${names}")
  set(apt ${as_root} env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  execute_process(COMMAND ${apt} update)
  execute_process(COMMAND ${apt} install --no-install-recommends -y ${missing}
                  RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "apt-get could not install ${names}")
  endif()
endfunction()

# Sets <result> to the number of processors that this process may use.
function(vierbein_count_processors result)
  execute_process(COMMAND nproc OUTPUT_VARIABLE count OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT count MATCHES "^[1-9][0-9]*$")
    cmake_host_system_information(RESULT count QUERY NUMBER_OF_LOGICAL_CORES)
  endif()
  set(${result} ${count} PARENT_SCOPE)
endfunction()

# What building a program with all components takes.
set(vierbein_build_packages
  g++ ninja-build libeigen3-dev libfmt-dev libxtensor-dev nlohmann-json3-dev libcsv-dev zlib1g-dev
  libcli11-dev librdkit-dev libboost-dev)
