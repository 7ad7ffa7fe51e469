# Finds the libraries that vierbein uses. A header library that is not installed is downloaded by
# FetchContent (headers only, its own build is not run); libcsv, zlib and RDKit must be installed.
include(FetchContent)

# vierbein_header_library(<package> <target> VERSION <oldest> URL <archive> SHA256 <hash>
#                         [INCLUDE <folder>] [LINK <target>...] [DEFINE <definition>...])
# Makes <target> available: by find_package(<package> <oldest>), else from the pinned archive.
function(vierbein_header_library package target)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "VERSION;URL;SHA256;INCLUDE" "LINK;DEFINE")
  if(TARGET ${target})
    return()
  endif()
  find_package(${package} ${arg_VERSION} QUIET)
  if(TARGET ${target})
    return()
  endif()
  message(STATUS "vierbein: ${package} is not installed, fetching ${arg_URL}")
  string(TOLOWER ${package} name)
  FetchContent_Declare(${name} URL ${arg_URL} URL_HASH SHA256=${arg_SHA256}
                       DOWNLOAD_EXTRACT_TIMESTAMP OFF SOURCE_SUBDIR headers-only)
  FetchContent_MakeAvailable(${name})
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} INTERFACE "${${name}_SOURCE_DIR}/${arg_INCLUDE}")
  target_link_libraries(${target} INTERFACE ${arg_LINK})
  target_compile_definitions(${target} INTERFACE ${arg_DEFINE})
endfunction()

function(vierbein_find_core_libraries)
  vierbein_header_library(Eigen3 Eigen3::Eigen VERSION 3.4
    URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
    SHA256 8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72)
  vierbein_header_library(fmt fmt::fmt VERSION 9 INCLUDE include DEFINE FMT_HEADER_ONLY=1
    URL https://github.com/fmtlib/fmt/archive/refs/tags/9.1.0.tar.gz
    SHA256 5dea48d1fcddc3ec571ce2058e13910a0d4a6bab4cc09a809d8b1dd1c88ae6f2)
endfunction()

# Sets <result> to whether the libraries of vierbein::io are there.
function(vierbein_find_io_libraries result)
  set(${result} OFF PARENT_SCOPE)
  if(NOT VIERBEIN_WITH_IO)
    return()
  endif()
  find_package(Csv QUIET)
  if(NOT Csv_FOUND)
    vierbein_missing_component(IO "libcsv (Debian: libcsv-dev)")
    return()
  endif()
  find_package(ZLIB QUIET)
  if(NOT ZLIB_FOUND)
    vierbein_missing_component(IO "zlib (Debian: zlib1g-dev)")
    return()
  endif()
  vierbein_header_library(nlohmann_json nlohmann_json::nlohmann_json VERSION 3.9 INCLUDE include
    URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
    SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
  find_package(xtensor 0.24 QUIET)
  if(NOT TARGET xtensor)
    vierbein_header_library(xtl xtl VERSION 0.7 INCLUDE include
      URL https://github.com/xtensor-stack/xtl/archive/refs/tags/0.7.7.tar.gz
      SHA256 44fb99fbf5e56af5c43619fc8c29aa58e5fad18f3ba6e7d9c55c111b62df1fbb)
    vierbein_header_library(xtensor xtensor VERSION 0.24 INCLUDE include LINK xtl
      URL https://github.com/xtensor-stack/xtensor/archive/refs/tags/0.24.7.tar.gz
      SHA256 0fbbd524dde2199b731b6af99b16063780de6cf1d0d6cb1f3f4d4ceb318f3106)
  endif()
  set(${result} ON PARENT_SCOPE)
endfunction()

# Sets <result> to whether the libraries of vierbein::chem are there.
function(vierbein_find_chem_libraries result)
  set(${result} OFF PARENT_SCOPE)
  if(NOT VIERBEIN_WITH_CHEM)
    return()
  endif()
  find_package(RDKit QUIET)
  if(NOT RDKit_FOUND)
    vierbein_missing_component(CHEM "RDKit and Boost's headers (Debian: librdkit-dev libboost-dev)")
    return()
  endif()
  set(${result} ON PARENT_SCOPE)
endfunction()

function(vierbein_missing_component component libraries)
  set(level STATUS)
  if(NOT VIERBEIN_WITH_${component} STREQUAL "AUTO")
    set(level FATAL_ERROR)
  endif()
  string(TOLOWER ${component} name)
  message(${level} "vierbein: no component ${name}, for want of ${libraries}")
endfunction()

# For our own programs only.
function(vierbein_find_doctest)
  vierbein_header_library(doctest doctest::doctest VERSION 2.4
    URL https://github.com/doctest/doctest/archive/refs/tags/v2.4.11.tar.gz
    SHA256 632ed2c05a7f53fa961381497bf8069093f0d6628c5f26286161fbd32a560186)
endfunction()

function(vierbein_find_cli11)
  vierbein_header_library(CLI11 CLI11::CLI11 VERSION 2.1 INCLUDE include
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.5.0.tar.gz
    SHA256 17e02b4cddc2fa348e5dbdbb582c59a3486fa2b2433e70a0c3bacb871334fd55)
endfunction()

# Links <target> to libraries, in the build tree and by name in the installed package, whose
# configuration file finds them anew: so it does not matter how this build came by them.
function(vierbein_link target)
  foreach(library IN LISTS ARGN)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:${library}>
                                              $<INSTALL_INTERFACE:${library}>)
  endforeach()
endfunction()

# OpenMP is optional: without it everything runs on one thread.
function(vierbein_link_openmp target)
  find_package(OpenMP QUIET COMPONENTS CXX)
  if(TARGET OpenMP::OpenMP_CXX)
    target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:OpenMP::OpenMP_CXX>)
  else()
    message(STATUS "vierbein: OpenMP is not installed, programs run on one thread")
  endif()
endfunction()

# vierbein::<name>: the core and the libraries that the headers of include/vierbein/<name> need.
function(vierbein_add_component name)
  add_library(vierbein_${name} INTERFACE)
  add_library(vierbein::${name} ALIAS vierbein_${name})
  set_target_properties(vierbein_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(vierbein_${name} INTERFACE vierbein)
  vierbein_link(vierbein_${name} ${ARGN})
endfunction()
