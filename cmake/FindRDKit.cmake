# Finds RDKit and Boost's headers, which RDKit's headers include; Debian's librdkit-dev brings no
# CMake package. Target: RDKit::RDKit, the libraries named below.
set(libraries SmilesParse SubstructMatch GraphMol Fingerprints Descriptors ChemTransforms DataStructs
              RDGeometryLib RDGeneral)

find_path(RDKit_INCLUDE_DIR GraphMol/GraphMol.h PATH_SUFFIXES rdkit)
find_path(RDKit_BOOST_INCLUDE_DIR boost/version.hpp)
set(variables RDKit_INCLUDE_DIR RDKit_BOOST_INCLUDE_DIR)
foreach(library IN LISTS libraries)
  find_library(RDKit_${library}_LIBRARY RDKit${library})
  list(APPEND variables RDKit_${library}_LIBRARY)
endforeach()
mark_as_advanced(${variables})

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RDKit REQUIRED_VARS ${variables})

if(RDKit_FOUND AND NOT TARGET RDKit::RDKit)
  add_library(RDKit::RDKit INTERFACE IMPORTED)
  target_include_directories(RDKit::RDKit INTERFACE "${RDKit_INCLUDE_DIR}"
                                                    "${RDKit_BOOST_INCLUDE_DIR}")
  # Boost before 1.81 holds conversions that clang 16 to 19 rejects unless told otherwise.
  target_compile_options(RDKit::RDKit INTERFACE
    $<$<AND:$<CXX_COMPILER_ID:Clang>,$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,16>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,20>>:-Wno-enum-constexpr-conversion>)
  foreach(library IN LISTS libraries)
    target_link_libraries(RDKit::RDKit INTERFACE "${RDKit_${library}_LIBRARY}")
  endforeach()
endif()
